"""The verbs of `gctl gpu-process`, one module each."""
