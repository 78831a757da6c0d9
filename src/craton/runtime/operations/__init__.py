"""What operators see of a running service, and what they do to it."""
