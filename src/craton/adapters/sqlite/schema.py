"""The tables of a module's file."""

import sqlite3
from typing import Final

from craton.adapters.sql import names, quoted, unique_statements
from craton.ports import Table
from craton.ports.records import ColumnType

_TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS events (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        stream TEXT NOT NULL,
        version INTEGER NOT NULL,
        id TEXT NOT NULL,
        type TEXT NOT NULL,
        schema_version INTEGER NOT NULL,
        data TEXT NOT NULL,
        metadata TEXT NOT NULL,
        time TEXT NOT NULL,
        last INTEGER NOT NULL DEFAULT 1,
        UNIQUE (stream, version)
    )""",
    "CREATE UNIQUE INDEX IF NOT EXISTS events_id ON events (id)",
    """CREATE TABLE IF NOT EXISTS snapshots (
        stream TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        fingerprint TEXT NOT NULL,
        state TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS results (
        scope TEXT NOT NULL,
        key TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        outcome TEXT NOT NULL,
        position INTEGER NOT NULL,
        PRIMARY KEY (scope, key)
    ) WITHOUT ROWID""",
    "CREATE TABLE IF NOT EXISTS checkpoints (subscription TEXT PRIMARY KEY, position INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS documents (name TEXT PRIMARY KEY, revision INTEGER NOT NULL, body TEXT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS leases (
        name TEXT PRIMARY KEY,
        owner TEXT NOT NULL,
        fence INTEGER NOT NULL,
        expires REAL NOT NULL
    )""",
    """CREATE TABLE IF NOT EXISTS timers (
        id TEXT PRIMARY KEY,
        due TEXT NOT NULL,
        operation TEXT NOT NULL,
        arguments TEXT NOT NULL,
        metadata TEXT NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        failures INTEGER NOT NULL DEFAULT 0,
        error TEXT NOT NULL DEFAULT '',
        parked INTEGER NOT NULL DEFAULT 0
    )""",
    """CREATE TABLE IF NOT EXISTS parked (
        subscription TEXT NOT NULL,
        position INTEGER NOT NULL,
        key TEXT NOT NULL,
        error TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        since TEXT NOT NULL,
        wish TEXT NOT NULL,
        PRIMARY KEY (subscription, position)
    )""",
)

# Columns that a later version of the toolkit added: table, column, definition. A file made before gets them when it is
# opened.
_ADDED_COLUMNS: Final = (
    ("timers", "attempts", "INTEGER NOT NULL DEFAULT 0"),
    ("timers", "failures", "INTEGER NOT NULL DEFAULT 0"),
    ("timers", "error", "TEXT NOT NULL DEFAULT ''"),
    ("timers", "parked", "INTEGER NOT NULL DEFAULT 0"),
    ("events", "last", "INTEGER NOT NULL DEFAULT 1"),
)

# Indexes over added columns. Parked timers have one of their own, so that many of them don't slow the others.
_INDEXES: Final = (
    "CREATE INDEX IF NOT EXISTS timers_waiting ON timers (due, id) WHERE NOT parked",
    "CREATE INDEX IF NOT EXISTS timers_parked ON timers (due, id) WHERE parked",
)

_TYPES: Final[dict[ColumnType, str]] = {
    "text": "TEXT",
    "integer": "INTEGER",
    "real": "REAL",
    "boolean": "INTEGER",
    "time": "TEXT",
}


def prepare(connection: sqlite3.Connection) -> None:
    """Make the tables, or bring those of an older file up to date, in one transaction. Raises `sqlite3.Error`."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in _TABLES:
            connection.execute(statement)
        for table, column, definition in _ADDED_COLUMNS:
            found = connection.execute("SELECT 1 FROM pragma_table_info(?) WHERE name = ?", (table, column)).fetchone()
            if not found:
                connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {definition}")
        for statement in _INDEXES:
            connection.execute(statement)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def table_statements(table: Table, unless_there: str = "") -> list[str]:
    """Make the table of a read model, with what makes its columns unique."""
    columns = ", ".join(f"{quoted(column.name)} {_TYPES[column.type]}" for column in table.columns)
    return [
        f"CREATE TABLE {unless_there}{table.name} ({columns}, row TEXT NOT NULL, PRIMARY KEY ({names(table.key)}))"
        " WITHOUT ROWID",
        *unique_statements(table, table.name, unless_there),
    ]
