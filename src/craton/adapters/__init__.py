"""Adapters, in one folder per technology."""
