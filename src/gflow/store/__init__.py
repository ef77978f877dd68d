"""File formats of the state, synchronous; knows the core only.

- codec, records, wal, log, acknowledged, snapshot, load: the state. history: jobs that have left it.
- ids: which were given. in_place: small marks that are overwritten.
- spool: captured environments and scripts. lock: one daemon for a directory. disk: every system call that writes.
- recovery: opening a state that may be unreadable. imports: taking over the older gflow's. upkeep: `gctl state`.
"""
