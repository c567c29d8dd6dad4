"""What an auditor does with receipts and logs, offline and with public data alone (docs/audit.md).

    receipts    receipts as they are kept in files
    logs        agents' logs, exported or in the agents' own folders
    verify      who contributed to what, under which policy, and that it still stands in the logs
    search      entries by what they say
    reconcile   what a caller has seen against what the agents wrote down
    witness     a second pair of eyes on somebody else's log

Decoding and proofs are the core's. Here it is decided what belongs together, and what is missing.
"""
