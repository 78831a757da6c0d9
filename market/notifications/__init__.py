"""Notifications: what is written to people."""
