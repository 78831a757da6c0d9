"""Craton: transactional, event-driven backends as ports-and-adapters modules."""

__version__ = "0.1.0"
