"""`make bench`: Evanesce beside OpenBao's transit engine, and beside clevis and tang, in one run.

Everything shares the machine's cores: five agents, each a process of its own, the caller, and while it is its turn the
peer with its load generator. Rounds alternate, so that a machine whose speed drifts slows both. Figures are medians.
"""
