"""How the file is opened, and how times are written in it."""

import sqlite3
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from craton.ports import StoreUnsuitable
from craton.ports.records import ColumnType
from craton.ports.wellformed import require_storable

BUSY_TIMEOUT_MS: Final = 5_000
OLDEST_VERSION: Final = (3, 35, 0)
"""The first version with RETURNING."""


def connect(path: Path, *, synchronous: str, read_only: bool) -> sqlite3.Connection:
    """Open a connection in autocommit mode, write-ahead logging on. Raises `sqlite3.Error` or `StoreUnsuitable`."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    try:
        _require_suitable(connection, path)
    except BaseException:
        connection.close()
        raise
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA cache_size = -32768")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
    return connection


def _require_suitable(connection: sqlite3.Connection, path: Path) -> None:
    """Turn write-ahead logging on. Raises `StoreUnsuitable` unless a store can rely on the library and the file."""
    if sqlite3.sqlite_version_info < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        raise StoreUnsuitable(f"SQLite {sqlite3.sqlite_version} is too old for a store: install {oldest} or newer.")
    (encoding,) = connection.execute("PRAGMA encoding").fetchone()
    if encoding != "UTF-8":
        raise StoreUnsuitable(f"{path} holds text as {encoding}, but a store needs UTF-8: let craton create the file.")
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreUnsuitable(f"{path} can't have a write-ahead log (its journal is {mode}): put it on a local disk.")


def time_text(time: datetime) -> str:
    """A time as sortable text, always in UTC and with microseconds."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def column_value(value: Any) -> Any:
    """A value in the form in which a column holds it. Raises `StatementFailed` for a text that other databases
    refuse."""
    if isinstance(value, str):
        require_storable(value)
        return value
    return time_text(value) if isinstance(value, datetime) else value


def reader_of(column_type: ColumnType) -> Callable[[Any], Any]:
    """The function that turns a column's value back into the original value."""

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
