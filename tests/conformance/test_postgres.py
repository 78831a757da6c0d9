"""What only Postgres can get wrong: failures between units, isolation levels, wake-ups."""

import asyncio
import socket
import struct
from typing import Any
from urllib.parse import urlsplit

import pytest

from craton.adapters.postgres import PostgresDatabase, PostgresStore
from craton.adapters.postgres.server import SESSION
from craton.ports import (
    SerializationConflict,
    Statement,
    Store,
    StoreUnavailable,
    Unit,
    UnitRefused,
    VersionConflict,
)
from craton.testing.conformance.making import (
    PEOPLE,
    appending,
    numbers,
    person,
    versions,
    with_tables,
    write,
    write_rows,
)
from tests.conftest import PostgresPlace
from tests.crash.databases import run_sql


@pytest.fixture
def place(postgres_place: PostgresPlace) -> PostgresPlace:
    return postgres_place


def _raising(code: str) -> Statement:
    return Statement(f"DO $$ BEGIN RAISE EXCEPTION 'as the test asked' USING ERRCODE = '{code}'; END $$", {})


class TestAnUnreadyDatabase:
    async def test_who_may_not_log_in_any_more_is_told_that_the_store_is_unavailable(
        self, postgres_place: PostgresPlace
    ) -> None:
        url, role = postgres_place.url, postgres_place.prefix
        await asyncio.to_thread(run_sql, url, f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD 'secret'")
        parts = urlsplit(url)
        address = parts.netloc.rpartition("@")[2]
        store = PostgresStore(
            PostgresDatabase(parts._replace(netloc=f"{role}:secret@{address}").geturl()), postgres_place.schema("bank")
        )
        await store.open()
        try:
            await asyncio.to_thread(run_sql, url, f"ALTER ROLE {role} NOLOGIN")
            await asyncio.to_thread(
                run_sql, url, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"
            )

            for _ in range(3):
                with pytest.raises(StoreUnavailable) as refused:
                    await store.ping()
            assert "not permitted to log in" in str(refused.value)
        finally:
            await store.close()
            await postgres_place.drop()
            await asyncio.to_thread(run_sql, url, f"DROP ROLE {role}")


class TestOneDatabase:
    async def test_tables_of_two_modules_may_have_one_name(self, postgres_place: PostgresPlace) -> None:
        database = PostgresDatabase(postgres_place.url)
        stores = [PostgresStore(database, postgres_place.schema(module)) for module in ("shop", "bank")]
        for store, column in zip(stores, ("goods", "money"), strict=True):
            await store.open()
            await store.write([Unit(statements=[Statement(f"CREATE TABLE things ({column} TEXT)", {})])])
            await store.write([Unit(statements=[Statement("INSERT INTO things VALUES (:what)", {"what": column})])])
        try:
            for _ in range(10):  # the connections are shared, and remember statements
                found = [await store.fetch(Statement("SELECT * FROM things", {})) for store in stores]

                assert found == [[{"goods": "goods"}], [{"money": "money"}]]
        finally:
            for store in stores:
                await store.close()


class TestFailuresOfABatch:
    async def test_an_error_that_the_modules_own_sql_raises_harms_no_neighbour(self, store: Store) -> None:
        outcomes = await store.write([appending("a"), appending("b", statements=[_raising("P0001")]), appending("c")])

        assert numbers(outcomes) == [True, False, True]
        assert isinstance(outcomes[1], UnitRefused)

    async def test_a_unit_that_collides_for_ever_harms_no_neighbour(self, store: Store) -> None:
        outcomes = await store.write([appending("a"), appending("b", statements=[_raising("40001")]), appending("c")])

        assert numbers(outcomes) == [True, False, True]
        assert isinstance(outcomes[1], SerializationConflict)

    async def test_what_was_written_before_the_store_failed_is_not_called_unwritten(self, store: Store) -> None:
        await with_tables(store, PEOPLE)
        await write_rows(store, person("ann", email="taken@example.org"))
        batch = [
            appending("a"),
            appending("b", rows=[person("bob", email="taken@example.org")]),
            appending("c", statements=[_raising("53100")]),
        ]

        try:
            outcomes: Any = await store.write(batch)
        except StoreUnavailable as problem:
            assert problem.maybe_executed or await versions(store, "a") == []
        else:
            assert isinstance(outcomes[0], int) == (await versions(store, "a") == [1])


class TestIsolation:
    @pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
    async def test_a_guard_holds_at_every_level_whatever_was_read_before(
        self, store: Store, second_store: Store, isolation: Any
    ) -> None:
        await write(store, appending("seen"))

        with pytest.raises((VersionConflict, SerializationConflict)):
            async with store.transaction(isolation) as transaction:
                await transaction.fetch(Statement("SELECT 1", {}))
                await write(second_store, appending("seen", 1))
                await transaction.write(appending("a", guards=[("seen", 1)]))

        assert await versions(store, "a") == []

    @pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
    async def test_a_stale_append_is_a_conflict_at_every_level(
        self, store: Store, second_store: Store, isolation: Any
    ) -> None:
        await write(store, appending("a"))

        with pytest.raises((VersionConflict, SerializationConflict)):
            async with store.transaction(isolation) as transaction:
                await transaction.fetch(Statement("SELECT 1", {}))
                await write(second_store, appending("a", 1))
                await transaction.write(appending("a", 1))

        assert await versions(store, "a") == [1, 2]

    async def test_of_two_that_would_both_overdraw_one_collides(self, store: Store, second_store: Store) -> None:
        await write(store, Unit(statements=[Statement("CREATE TABLE purses (id int PRIMARY KEY, coins int)", {})]))
        await write(store, Unit(statements=[Statement("INSERT INTO purses VALUES (1, 5), (2, 5)", {})]))
        both_have_read = asyncio.Barrier(2)

        async def spend(client: Store, purse: int) -> None:
            async with client.transaction("serializable") as transaction:
                (row,) = await transaction.fetch(Statement("SELECT sum(coins) AS coins FROM purses", {}))
                await both_have_read.wait()
                assert row["coins"] == 10
                await transaction.execute(Statement("UPDATE purses SET coins = -3 WHERE id = :id", {"id": purse}))

        outcomes = await asyncio.gather(spend(store, 1), spend(second_store, 2), return_exceptions=True)

        assert [type(outcome) for outcome in outcomes if outcome is not None] == [SerializationConflict]


class TestWakeUps:
    async def test_a_commit_of_another_process_wakes_the_watchers(self, store: Store, second_store: Store) -> None:
        woken = asyncio.Event()
        await store.head()
        store.watch(woken.set)
        position = 0

        while not woken.is_set() and position < 100:
            position = await write(second_store, appending("a", position))
            for _ in range(20):
                await store.head()

        assert woken.is_set()


class TestFrozenProcesses:
    """A process that stops in the middle of a transaction, as by SIGSTOP, can't say so, and holds its locks."""

    @pytest.mark.parametrize("half_sent", [False, True], ids=["between statements", "within a statement"])
    async def test_loses_its_lease_soon(self, store: Store, place: PostgresPlace, half_sent: bool) -> None:
        await store.acquire("lease", "frozen", 0.0)
        with socket.create_connection(_server(place.url)) as frozen:
            _send(
                frozen, b"", struct.pack("!i", 196_608) + _texts("user", "postgres", "database", _database(place.url))
            )
            for name, value in SESSION.items():
                _query(frozen, f"SET {name} = {value if value.isdigit() else repr(value)}")
            _query(frozen, f"BEGIN; SELECT * FROM {place.schema()}.leases FOR SHARE")
            if half_sent:
                _send(frozen, b"P", _texts("", "SELECT 1") + struct.pack("!h", 0))
                _send(frozen, b"H", b"")
            await asyncio.sleep(0.1)
            assert await store.acquire("lease", "heir", 1.0) is None, "it isn't frozen at all"

            async with asyncio.timeout(15):
                while await store.acquire("lease", "heir", 1.0) is None:
                    await asyncio.sleep(0.1)


def _server(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "127.0.0.1", parts.port or 5432


def _database(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


def _texts(*texts: str) -> bytes:
    return b"".join(text.encode() + b"\0" for text in texts)


def _send(server: socket.socket, kind: bytes, body: bytes) -> None:
    """Send one message of Postgres's protocol, version 3."""
    end = b"\0" if not kind else b""
    server.sendall(kind + struct.pack("!i", 4 + len(body + end)) + body + end)


def _query(server: socket.socket, sql: str) -> None:
    _send(server, b"Q", _texts(sql))
