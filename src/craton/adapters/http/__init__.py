"""HTTP: the route tables of all modules under one port."""

from craton.adapters.http.asgi import asgi
from craton.adapters.http.body import read_bounded
from craton.adapters.http.cors import origins_of
from craton.adapters.http.server import ALL_ADDRESSES, listen, listen_at, serve, serving_beside
from craton.adapters.http.wiring import wrong_routes

__all__ = [
    "ALL_ADDRESSES",
    "asgi",
    "listen",
    "listen_at",
    "origins_of",
    "read_bounded",
    "serve",
    "serving_beside",
    "wrong_routes",
]
