"""Where the `eventsourcing` peer keeps its events: PostgreSQL or SQLite."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from contextlib import closing
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

import psycopg
from eventsourcing.persistence import InfrastructureFactory, Tracking, TrackingRecorder
from eventsourcing.postgres import PostgresDatastore, PostgresTrackingRecorder
from eventsourcing.sqlite import SQLiteDatastore, SQLiteFactory, SQLiteTrackingRecorder
from psycopg.sql import SQL, Identifier

SCHEMA = "peer_eventsourcing"
SQLITE_TABLES = ("stored_events", "tracking", "balances")
SQLITE_SYNCHRONOUS_FULL = 2


class BalancesView(TrackingRecorder, ABC):
    """One row of a balance per account, written together with its position."""

    @abstractmethod
    def add(self, account_id: UUID, amount: int, tracking: Tracking) -> None: ...

    @abstractmethod
    def total(self) -> int: ...


class PostgresBalancesView(PostgresTrackingRecorder, BalancesView):
    def __init__(self, datastore: PostgresDatastore, **kwargs: Any) -> None:
        super().__init__(datastore, **kwargs)
        table = {"table": Identifier(datastore.schema, "balances")}
        self.sql_create_statements.append(
            SQL(
                "CREATE TABLE IF NOT EXISTS {table}"
                " (account_id uuid PRIMARY KEY, balance bigint NOT NULL)"
            ).format(**table)
        )
        self.add_statement = SQL(
            "INSERT INTO {table} AS b VALUES (%s, %s) ON CONFLICT (account_id)"
            " DO UPDATE SET balance = b.balance + EXCLUDED.balance"
        ).format(**table)
        self.total_statement = SQL("SELECT sum(balance)::bigint AS total FROM {table}").format(
            **table
        )

    def add(self, account_id: UUID, amount: int, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute(self.add_statement, (account_id, amount), prepare=True)
            self._insert_tracking(cursor, tracking)

    def total(self) -> int:
        with self.datastore.cursor() as cursor:
            row = cursor.execute(self.total_statement).fetchone()
            assert row is not None
            return int(row["total"])


class SQLiteBalancesView(SQLiteTrackingRecorder, BalancesView):
    def construct_create_table_statements(self) -> list[str]:
        return [
            *super().construct_create_table_statements(),
            "CREATE TABLE IF NOT EXISTS balances"
            " (account_id TEXT PRIMARY KEY, balance INTEGER NOT NULL) WITHOUT ROWID",
        ]

    def add(self, account_id: UUID, amount: int, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute(
                "INSERT INTO balances VALUES (?, ?) ON CONFLICT (account_id)"
                " DO UPDATE SET balance = balance + excluded.balance",
                (account_id.hex, amount),
            )
            self._insert_tracking(cursor, tracking)

    def total(self) -> int:
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute("SELECT sum(balance) FROM balances")
            return int(cursor.fetchone()[0])


class Store(ABC):
    has_subscriptions: bool
    view_class: type[BalancesView]

    @abstractmethod
    def reset(self) -> None:
        """Drop what an earlier run left, and refuse settings that lose commits."""

    @abstractmethod
    def environment(self, callers: int) -> dict[str, str]:
        """The package's settings for so many callers at a time."""

    @abstractmethod
    def prepare_for(self, factory: InfrastructureFactory[Any], callers: int) -> None:
        """Settle what the package's settings cannot say."""


class PostgresStore(Store):
    has_subscriptions = True
    view_class = PostgresBalancesView

    def __init__(self, url: str) -> None:
        self.url = url

    def reset(self) -> None:
        schema = Identifier(SCHEMA)
        with psycopg.connect(self.url, autocommit=True) as connection:
            for setting in ("fsync", "synchronous_commit"):
                row = connection.execute(SQL("SHOW {}").format(Identifier(setting))).fetchone()
                if row != ("on",):
                    raise SystemExit(f"PostgreSQL's {setting} is not on")
            connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(schema))
            connection.execute(SQL("CREATE SCHEMA {}").format(schema))

    def environment(self, callers: int) -> dict[str, str]:
        url = urlsplit(self.url)
        return {
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": url.path.removeprefix("/"),
            "POSTGRES_HOST": url.hostname or "localhost",
            "POSTGRES_PORT": str(url.port or 5432),
            "POSTGRES_USER": unquote(url.username or ""),
            "POSTGRES_PASSWORD": unquote(url.password or ""),
            "POSTGRES_SCHEMA": SCHEMA,
            "POSTGRES_POOL_SIZE": str(callers),
        }

    def prepare_for(self, factory: InfrastructureFactory[Any], callers: int) -> None:
        """Its settings say everything."""


class SQLiteStore(Store):
    has_subscriptions = False
    view_class = SQLiteBalancesView

    def __init__(self, path: str) -> None:
        self.path = path

    def reset(self) -> None:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            for table in SQLITE_TABLES:
                connection.execute(f"DROP TABLE IF EXISTS {table}")
            connection.execute("VACUUM")

    def environment(self, callers: int) -> dict[str, str]:
        return {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": self.path}

    def prepare_for(self, factory: InfrastructureFactory[Any], callers: int) -> None:
        assert isinstance(factory, SQLiteFactory)
        # The pool closes connections beyond its size of 5, which no setting
        # changes; a connection for each caller spares it opening them anew.
        factory.datastore.pool.pool_size = callers
        refuse_less_than_full(factory.datastore)


def refuse_less_than_full(datastore: SQLiteDatastore) -> None:
    with datastore.get_connection(commit=False) as connection:
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous")
        if cursor.fetchone()[0] < SQLITE_SYNCHRONOUS_FULL:
            raise SystemExit("SQLite's synchronous is not FULL")


def open_store(url: str) -> Store:
    scheme, _, path = url.partition(":///")
    if scheme == "sqlite":
        return SQLiteStore(path)
    if url.startswith("postgresql://"):
        return PostgresStore(url)
    raise SystemExit(f"not a store: {url}")
