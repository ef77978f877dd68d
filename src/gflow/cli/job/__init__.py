"""The verbs of gjob, one module each."""
