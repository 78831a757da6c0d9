"""Inventory: how many there are, and for whom they are kept."""
