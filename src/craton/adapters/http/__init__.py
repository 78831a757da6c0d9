"""HTTP: the route tables of all modules under one port."""

from craton.adapters.http.asgi import asgi
from craton.adapters.http.body import read_bounded
from craton.adapters.http.server import listen, serve

__all__ = ["asgi", "listen", "read_bounded", "serve"]
