"""The verbs of `gctl notify`."""
