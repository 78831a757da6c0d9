"""The market: a complete backend built with Craton."""
