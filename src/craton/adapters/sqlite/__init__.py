"""One SQLite file for each module. The default: nothing to install."""

from craton.adapters.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
