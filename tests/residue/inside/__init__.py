"""What runs inside the processes that are searched, and in the scanner. Nothing here knows a secret in the clear:
needles and plants come masked, and needles stay so.

`python -m tests.residue.inside --control FD agent FOLDER | caller PLAN | service FOLDER | scanner`
"""
