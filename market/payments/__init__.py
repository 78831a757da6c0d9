"""Payments: money from outside."""
