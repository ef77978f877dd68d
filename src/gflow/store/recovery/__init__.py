"""Opening the state at start, also when it cannot be read.

- opening: what is done when. salvage: reading what is left. mend: making jobs fit for the engine again.
- journal: where a daemon keeps everything meanwhile. backup: copies of the bad files.
"""
