"""The verbs of `gctl state`."""
