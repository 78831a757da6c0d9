"""HTTP: the route tables of all modules under one port."""

from craton.adapters.http.asgi import asgi
from craton.adapters.http.server import listen, serve

__all__ = ["asgi", "listen", "serve"]
