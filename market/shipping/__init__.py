"""Shipping: how goods get to people."""
