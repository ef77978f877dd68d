"""How commands talk to the daemon."""
