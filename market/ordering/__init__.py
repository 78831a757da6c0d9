"""Ordering: orders, until they are delivered or cancelled."""
