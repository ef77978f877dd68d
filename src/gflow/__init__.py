"""gflow: a job scheduler for one machine with GPUs. See ARCHITECTURE.md for the way through the code."""

__version__ = "0.1.0"
