"""The pure core: it decides, and does nothing else. Standard library only, no I/O, no clock, no randomness."""
