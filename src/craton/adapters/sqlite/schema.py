"""The tables of a module's file, and the upgrade of an older file's tables."""

import sqlite3
from typing import Final

from craton.adapters.layouts import LAYOUT, require_usable, tell_upgraded
from craton.adapters.sql import names, quoted, unique_statements
from craton.domain import world
from craton.ports import Table
from craton.ports.records import ColumnType

_PARKED_EVENTS: Final = """CREATE TABLE parked_events (
        subscription TEXT NOT NULL,
        position INTEGER NOT NULL,
        key TEXT NOT NULL,
        error TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        since TEXT NOT NULL,
        operator_request TEXT NOT NULL,
        event TEXT NOT NULL,
        PRIMARY KEY (subscription, position)
    )"""

# Programs of layout 1 don't ask for the layout. They find a view in place of `checkpoints`, which they can't read.
# With an empty table their policies would react to all events once more.
_NO_CHECKPOINTS: Final = "CREATE VIEW checkpoints AS SELECT 'a newer version of Craton' AS belongs_to"

_TABLES: Final = (
    """CREATE TABLE events (
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
    "CREATE UNIQUE INDEX events_id ON events (id)",
    """CREATE TABLE snapshots (
        stream TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        fingerprint TEXT NOT NULL,
        state TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE results (
        scope TEXT NOT NULL,
        key TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        outcome TEXT NOT NULL,
        time TEXT NOT NULL,
        position INTEGER NOT NULL,
        PRIMARY KEY (scope, key)
    ) WITHOUT ROWID""",
    "CREATE TABLE readers (subscription TEXT PRIMARY KEY, position INTEGER NOT NULL)",
    "CREATE TABLE documents (name TEXT PRIMARY KEY, revision INTEGER NOT NULL, body TEXT NOT NULL)",
    """CREATE TABLE lease_owners (
        name TEXT PRIMARY KEY,
        owner TEXT NOT NULL,
        fence INTEGER NOT NULL,
        expires REAL NOT NULL
    )""",
    """CREATE TABLE timers (
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
    # Parked timers have an index of their own, so that many of them don't slow the others.
    "CREATE INDEX timers_waiting ON timers (due, id) WHERE NOT parked",
    "CREATE INDEX timers_parked ON timers (due, id) WHERE parked",
    _PARKED_EVENTS,
    _NO_CHECKPOINTS,
    "CREATE TABLE layout (version INTEGER NOT NULL)",
)

# Columns that were added before layouts were counted: table, column, definition.
_ADDED_COLUMNS: Final = (
    ("timers", "attempts", "INTEGER NOT NULL DEFAULT 0"),
    ("timers", "failures", "INTEGER NOT NULL DEFAULT 0"),
    ("timers", "error", "TEXT NOT NULL DEFAULT ''"),
    ("timers", "parked", "INTEGER NOT NULL DEFAULT 0"),
    ("events", "last", "INTEGER NOT NULL DEFAULT 1"),
)

# When a table's meaning changes, its name changes too: then a process of an older program that is still running fails
# at its next statement, and writes nothing wrong.
_UPGRADES: Final[dict[int, tuple[str, ...]]] = {
    1: (
        "CREATE UNIQUE INDEX IF NOT EXISTS events_id ON events (id)",
        "CREATE INDEX IF NOT EXISTS timers_waiting ON timers (due, id) WHERE NOT parked",
        "CREATE INDEX IF NOT EXISTS timers_parked ON timers (due, id) WHERE parked",
        "ALTER TABLE checkpoints RENAME TO readers",
        "ALTER TABLE leases RENAME TO lease_owners",
        _NO_CHECKPOINTS,
        """CREATE TABLE new_results (
            scope TEXT NOT NULL,
            key TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            outcome TEXT NOT NULL,
            time TEXT NOT NULL,
            position INTEGER NOT NULL,
            PRIMARY KEY (scope, key)
        ) WITHOUT ROWID""",
        "INSERT INTO new_results SELECT scope, key, fingerprint, outcome, :now, position FROM results",
        "DROP TABLE results",
        "ALTER TABLE new_results RENAME TO results",
        _PARKED_EVENTS,
        """INSERT INTO parked_events
            SELECT p.subscription, p.position, p.key, p.error, p.attempts, p.since, p.wish, json_object(
                'stream', e.stream, 'version', e.version, 'id', e.id, 'type', e.type,
                'schema_version', e.schema_version, 'data', e.data, 'metadata', e.metadata, 'time', e.time,
                'position', e.position, 'last', json(CASE WHEN e.last THEN 'true' ELSE 'false' END)
            ) FROM parked p JOIN events e ON e.position = p.position""",
        "DROP TABLE parked",
        "CREATE TABLE layout (version INTEGER NOT NULL)",
        "INSERT INTO layout VALUES (2)",
    ),
}

_TYPES: Final[dict[ColumnType, str]] = {
    "text": "TEXT",
    "integer": "INTEGER",
    "real": "REAL",
    "boolean": "INTEGER",
    "time": "TEXT",
}


def prepare(connection: sqlite3.Connection, name: str, *, upgrade: bool) -> None:
    """Create the tables, or upgrade those of an older file, in one transaction.

    Raises `sqlite3.Error`, or `StoreUnsuitable` for tables of another version that aren't to be upgraded.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = _layout(connection)
        require_usable(name, found, upgrade=upgrade)
        if found == 0:
            for statement in (*_TABLES, f"INSERT INTO layout VALUES ({LAYOUT})"):
                connection.execute(statement)
        elif found < LAYOUT:
            _upgrade(connection, found)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    if 0 < found < LAYOUT:
        tell_upgraded(name, found)


def _layout(connection: sqlite3.Connection) -> int:
    """The layout version of the tables; 0 if there are none."""
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "layout" in tables:
        return int(connection.execute("SELECT version FROM layout").fetchone()[0])
    return 1 if "events" in tables else 0


def _upgrade(connection: sqlite3.Connection, found: int) -> None:
    if found == 1:
        for table, column, definition in _ADDED_COLUMNS:
            there = connection.execute("SELECT 1 FROM pragma_table_info(?) WHERE name = ?", (table, column)).fetchone()
            if not there:
                connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {definition}")
    now = world.now().isoformat(timespec="microseconds")
    for version in range(found, LAYOUT):
        for statement in _UPGRADES[version]:
            connection.execute(statement, {"now": now})


def table_statements(table: Table, unless_there: str = "") -> list[str]:
    """Create the table of a read model, with its unique indexes."""
    columns = ", ".join(f"{quoted(column.name)} {_TYPES[column.type]}" for column in table.columns)
    return [
        f"CREATE TABLE {unless_there}{table.name} ({columns}, row TEXT NOT NULL, PRIMARY KEY ({names(table.key)}))"
        " WITHOUT ROWID",
        *unique_statements(table, table.name, unless_there),
    ]
