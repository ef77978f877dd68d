"""The verbs of `gctl token`, one module each."""
