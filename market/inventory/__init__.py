"""Inventory: the stock of products, and what is reserved for orders."""
