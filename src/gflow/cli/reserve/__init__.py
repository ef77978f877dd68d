"""The verbs of `gctl reserve`."""
