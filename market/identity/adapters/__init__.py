"""How passwords are hashed and tokens signed."""
