"""What is told to the outside, and how."""
