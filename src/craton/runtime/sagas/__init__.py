"""Sagas at run time: their state, the rules by which they proceed, and the processes that drive them."""
