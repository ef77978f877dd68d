"""JSON shapes of the API: requests in, jobs out. Pure; knows the core only."""
