"""The pages of docs/reference, each made of what it is about."""
