"""How the file is opened, and how times are written in it."""

import sqlite3
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from craton.ports.records import ColumnType
from craton.ports.wellformed import require_storable

BUSY_TIMEOUT_MS: Final = 5_000


def connect(path: Path, *, synchronous: str, read_only: bool) -> sqlite3.Connection:
    """Open a connection in autocommit mode, write-ahead logging on. Raises `sqlite3.Error`."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA cache_size = -32768")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
    return connection


def time_text(time: datetime) -> str:
    """A time as sortable text, always in UTC and with microseconds."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def column_value(value: Any) -> Any:
    """A value as a column holds it. Raises `StatementFailed` for a text that other databases couldn't hold."""
    if isinstance(value, str):
        require_storable(value)
        return value
    return time_text(value) if isinstance(value, datetime) else value


def reader_of(column_type: ColumnType) -> Callable[[Any], Any]:
    """What turns a column's value back into what was put in."""

    def read(value: Any) -> Any:
        if value is None:
            return None
        if column_type == "time":
            return datetime.fromisoformat(value)
        return bool(value) if column_type == "boolean" else value

    return read


def bound(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple([column_value(value) for value in values])


def bound_by_name(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: column_value(value) for name, value in parameters.items()}
