"""The machinery that runs modules."""

from craton.runtime.app import About, App

__all__ = ["About", "App"]
