"""Completing command lines: the shells ask the command itself, which looks into its own option table."""
