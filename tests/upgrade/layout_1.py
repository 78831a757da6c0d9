"""Stores of layout 1, as programs made them before layouts were counted."""

import sqlite3
from contextlib import closing
from typing import Final

import asyncpg

from tests.conftest import Place, PostgresPlace, SqlitePlace

SQLITE: Final = (
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
        position INTEGER NOT NULL,
        PRIMARY KEY (scope, key)
    ) WITHOUT ROWID""",
    "CREATE TABLE checkpoints (subscription TEXT PRIMARY KEY, position INTEGER NOT NULL)",
    "CREATE TABLE documents (name TEXT PRIMARY KEY, revision INTEGER NOT NULL, body TEXT NOT NULL)",
    """CREATE TABLE leases (
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
    """CREATE TABLE parked (
        subscription TEXT NOT NULL,
        position INTEGER NOT NULL,
        key TEXT NOT NULL,
        error TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        since TEXT NOT NULL,
        wish TEXT NOT NULL,
        PRIMARY KEY (subscription, position)
    )""",
    "CREATE INDEX timers_waiting ON timers (due, id) WHERE NOT parked",
    "CREATE INDEX timers_parked ON timers (due, id) WHERE parked",
)

POSTGRES: Final = """
CREATE SCHEMA {schema};
CREATE TABLE {schema}.events (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream text COLLATE "C" NOT NULL,
    version int NOT NULL,
    id text NOT NULL,
    type text NOT NULL,
    schema_version int NOT NULL,
    data text NOT NULL,
    metadata text NOT NULL,
    time timestamptz NOT NULL,
    last boolean NOT NULL DEFAULT true,
    UNIQUE (stream, version)
);
CREATE UNIQUE INDEX events_id ON {schema}.events (id COLLATE "C");
CREATE TABLE {schema}.snapshots (
    stream text COLLATE "C" PRIMARY KEY, version int NOT NULL, fingerprint text NOT NULL, state text NOT NULL
);
CREATE TABLE {schema}.results (
    scope text COLLATE "C", key text COLLATE "C", fingerprint text NOT NULL, outcome text NOT NULL,
    position bigint NOT NULL, PRIMARY KEY (scope, key)
);
CREATE TABLE {schema}.checkpoints (subscription text PRIMARY KEY, position bigint NOT NULL);
CREATE TABLE {schema}.documents (name text PRIMARY KEY, revision int NOT NULL, body text NOT NULL);
CREATE TABLE {schema}.leases (
    name text PRIMARY KEY, owner text NOT NULL, fence bigint NOT NULL, expires timestamptz NOT NULL
);
CREATE TABLE {schema}.timers (
    id text PRIMARY KEY, due timestamptz NOT NULL, operation text NOT NULL, arguments text NOT NULL,
    metadata text NOT NULL, attempts int NOT NULL DEFAULT 0, failures int NOT NULL DEFAULT 0,
    error text NOT NULL DEFAULT '', parked boolean NOT NULL DEFAULT false
);
CREATE TABLE {schema}.parked (
    subscription text NOT NULL, position bigint NOT NULL, key text NOT NULL, error text NOT NULL,
    attempts int NOT NULL, since timestamptz NOT NULL, wish text NOT NULL, PRIMARY KEY (subscription, position)
);
CREATE INDEX timers_waiting ON {schema}.timers (due, id) WHERE NOT parked;
CREATE INDEX timers_parked ON {schema}.timers (due, id) WHERE parked;
"""


async def make_old_store(place: Place, *then: str, module: str = "bank") -> None:
    """Make the store of a module in layout 1, and run some more statements in it."""
    if isinstance(place, SqlitePlace):
        await run(place, *SQLITE, *then, module=module)
    else:
        await run(place, POSTGRES.format(schema=place.schema(module)), *then, module=module)  # type: ignore[attr-defined]


async def run(place: Place, *statements: str, module: str = "bank") -> None:
    """Run statements in the store of a module, whatever its layout."""
    match place:
        case SqlitePlace():
            with closing(sqlite3.connect(place.folder / f"{module}.db")) as connection, connection:
                for statement in statements:
                    connection.execute(statement)
        case PostgresPlace():
            client = await asyncpg.connect(place.url)
            try:
                await client.execute(f"SET search_path = {place.schema(module)}")
                for statement in statements:
                    await client.execute(statement)
            finally:
                await client.close()
