"""A module's own tables in MariaDB."""

from craton.adapters.mariadb.store import MariaDbTables

__all__ = ["MariaDbTables"]
