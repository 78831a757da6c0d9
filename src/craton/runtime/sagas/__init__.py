"""Sagas at run time: their state, the rules by which they go on, and who drives them."""
