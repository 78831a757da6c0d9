"""Messaging: people write to each other."""
