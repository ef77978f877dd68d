"""The verbs of gctl, one module each."""
