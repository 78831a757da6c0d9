"""Calls and logs between services: HTTP between processes that run the modules of one app."""

from craton.adapters.services.client import Peers
from craton.adapters.services.hosting import OUTSIDE, Hosting
from craton.adapters.services.server import ServicesServer

__all__ = ["OUTSIDE", "Hosting", "Peers", "ServicesServer"]
