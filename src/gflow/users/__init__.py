"""System mode: one daemon, run by root, for all users of the machine, every job run as its submitter."""
