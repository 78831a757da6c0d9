"""Catalog: what is sold."""
