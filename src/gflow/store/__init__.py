"""File formats of the state: log, snapshot, spool. Synchronous; knows the core only."""
