"""The machinery that runs modules."""

from craton.runtime.app import App

__all__ = ["App"]
