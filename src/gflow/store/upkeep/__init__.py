"""Looking after the files of the state: what `gctl state` does.

- check, with check_state and check_rest: what is wrong in which file; finding: how that is said.
- export: everything as JSON. beside: reading while a daemon writes.
- tidy: compacting and pruning without a daemon. compaction, pruning: what both come to.
"""
