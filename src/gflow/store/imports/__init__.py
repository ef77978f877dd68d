"""Taking over the state of the older gflow: its `state.json` and `state.msgpack`, versions 0 to 4.

- reading: bytes of a file -> the plain maps in it, whatever version wrote them.
- values: one field at a time, checked.
- jobs: one map -> one job. links: what jobs say of each other. extras: everything that is no job.
- plan: all of that together, still without touching anything. install: putting a plan on disk.

Everything but install is pure. What gflow itself leaves out when it is unset may be missing; what it can never have
written raises `NotImportable`, and then nothing has been changed. What it allowed and ours does not is brought into
range, and a note says so.
"""
