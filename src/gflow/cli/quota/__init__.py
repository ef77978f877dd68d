"""The verbs of `gctl quota`, one module each."""
