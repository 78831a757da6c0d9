"""Recipes: what they are made of, and how many calories that is."""
