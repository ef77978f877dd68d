"""The services of the daemon and what holds them together."""
