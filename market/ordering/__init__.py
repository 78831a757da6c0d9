"""Ordering: orders, from their placing to their end."""
