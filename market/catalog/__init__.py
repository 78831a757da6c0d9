"""Catalog: products and their prices."""
