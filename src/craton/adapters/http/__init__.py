"""HTTP: the route tables of all modules under one port."""

from craton.adapters.http.asgi import asgi
from craton.adapters.http.body import read_bounded
from craton.adapters.http.cors import origins_of
from craton.adapters.http.server import listen, serve
from craton.adapters.http.wiring import wrong_routes

__all__ = ["asgi", "listen", "origins_of", "read_bounded", "serve", "wrong_routes"]
