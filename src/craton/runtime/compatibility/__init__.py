"""Checks at each start whether the program fits what its stores hold."""
