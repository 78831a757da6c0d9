"""What only Postgres can get wrong: failures between units, isolation levels, wake-ups."""

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from craton.adapters.postgres import PostgresDatabase, PostgresStore, database, server
from craton.adapters.postgres.schema import MAX_LOCKS
from craton.adapters.postgres.server import SESSION
from craton.application import WiringError
from craton.ports import (
    INLINE,
    Changeset,
    ChangesetRefused,
    Document,
    DocumentChanged,
    Query,
    RowFold,
    SerializationConflict,
    Statement,
    StatementFailed,
    Store,
    StoredRow,
    StoreUnavailable,
    StoreUnsuitable,
    Transaction,
    VersionConflict,
)
from craton.testing.conformance.making import (
    PEOPLE,
    SEATS,
    append,
    appending,
    numbers,
    person,
    versions,
    whole_feed,
    with_tables,
    write,
    write_rows,
)
from craton.testing.faults import Line
from tests.conftest import PostgresPlace
from tests.crash.databases import fresh_database, run_sql


@pytest.fixture
def place(postgres_place: PostgresPlace) -> PostgresPlace:
    return postgres_place


class TestASchema:
    @pytest.mark.parametrize("name", ["a" * 64, "my-shop_bank", "ünter_bank", "1_bank", "shop bank", ""])
    def test_has_a_name_that_postgres_keeps_as_it_is(self, name: str) -> None:
        with pytest.raises(WiringError, match="can't be the name of a schema"):
            PostgresStore(PostgresDatabase("postgresql://nowhere"), name)


class TestTheSetOfLiveInlineProjections:
    async def test_is_not_replaced_while_an_event_is_on_its_way(self, store: Store, second_store: Store) -> None:
        async with store.transaction("read committed") as transaction:
            await transaction.write(appending("a", inline=0))
            replacing = asyncio.create_task(second_store.write([Changeset(documents=[Document(INLINE, 1, "{}")])]))
            for _ in range(50):
                await second_store.head()
            assert not replacing.done()

        assert numbers(await replacing) == [True]
        assert isinstance((await store.write([appending("a", 1, inline=0)]))[0], DocumentChanged)

    async def test_is_not_passed_by_the_function_that_an_older_version_of_the_toolkit_calls(
        self, postgres_place: PostgresPlace, store: Store, second_store: Store
    ) -> None:
        schema = postgres_place.schema()
        types = {"t": "text[]", "n": "int[]", "z": "timestamptz[]"}
        older = ", ".join(types[letter] for letter in "tntnttnttztnttttttn")
        await asyncio.to_thread(
            run_sql,
            postgres_place.url,
            f"CREATE FUNCTION {schema}.append({older}) RETURNS void LANGUAGE sql AS 'SELECT'",
        )

        await second_store.close()
        await second_store.open()

        (left,) = await asyncio.to_thread(
            run_sql, postgres_place.url, f"SELECT to_regprocedure('{schema}.append({older})') IS NULL AS gone"
        )
        assert left["gone"]


END_ALL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.fixture
def own_database(request: pytest.FixtureRequest, postgres_url: str) -> Iterator[str]:
    """The URL of a database that nobody else uses, made with the options of `request.param`."""
    with fresh_database(postgres_url, getattr(request, "param", "")) as url:
        yield url


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(PostgresDatabase(url), "bank")
    await store.open()
    try:
        yield store
    finally:
        await store.close()


OPERATIONS: Final[dict[str, Callable[[Store], Awaitable[Any]]]] = {
    "ping": lambda store: store.ping(),
    "load": lambda store: store.load([("a", "shape")]),
    "read stream": lambda store: store.read_stream("a", limit=1),
    "read feed": lambda store: store.read_feed(0, 10),
    "get rows": lambda store: store.get_rows(PEOPLE, [("ann",)]),
    "find rows": lambda store: store.find_rows(PEOPLE, Query()),
    "fetch": lambda store: store.fetch(Statement("SELECT 1", {})),
    "write": lambda store: store.write([appending("a")]),
    "write in a transaction": lambda store: store.write([appending("a", checkpoint=("reader", 1))]),
    "acquire": lambda store: store.acquire("lease", "ann", 3.0),
    "release": lambda store: store.release("lease", "ann"),
    "create table": lambda store: store.create_table(PEOPLE),
}


def _raising(code: str) -> Statement:
    return Statement(f"DO $$ BEGIN RAISE EXCEPTION 'as the test asked' USING ERRCODE = '{code}'; END $$", {})


class TestAnUnreadyDatabase:
    async def test_the_store_is_unavailable_when_the_login_is_refused(self, postgres_place: PostgresPlace) -> None:
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


class TestAnUnsuitableServer:
    """What a store needs of its server is found out when it is opened, not by the first customer with an umlaut."""

    @pytest.mark.parametrize(
        "own_database",
        ["ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"],
        indirect=True,
        ids=["latin1"],
    )
    async def test_a_database_that_is_not_in_utf8_is_refused(self, own_database: str) -> None:
        with pytest.raises(StoreUnsuitable, match=r"LATIN1.*UTF8.*TEMPLATE template0"):
            await PostgresStore(PostgresDatabase(own_database), "bank").open()

    async def test_a_server_that_is_too_old_is_refused(
        self, postgres_place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "OLDEST_VERSION", 99)

        with pytest.raises(StoreUnsuitable, match=r"too old.*99 or newer"):
            await postgres_place().open()

    @pytest.mark.parametrize(
        ("setting", "value"), [("default_transaction_isolation", "serializable"), ("synchronous_commit", "off")]
    )
    async def test_a_pooler_that_loses_settings_is_refused(
        self, own_database: str, monkeypatch: pytest.MonkeyPatch, setting: str, value: str
    ) -> None:
        monkeypatch.delitem(server.SESSION, setting)
        await _set_default(own_database, setting, value)

        with pytest.raises(StoreUnsuitable, match=f"{value}.*pooler"):
            await PostgresStore(PostgresDatabase(own_database), "bank").open()

    async def test_one_that_becomes_unsuitable_is_not_used_any_more(
        self, own_database: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with _opened(own_database) as store:
            monkeypatch.setattr(server, "OLDEST_VERSION", 99)
            await asyncio.to_thread(run_sql, own_database, END_ALL)
            reasons: list[str] = []

            while not reasons or "too old" not in reasons[-1]:
                try:
                    await store.ping()
                except StoreUnavailable as problem:
                    reasons.append(str(problem))


class TestDefaultsOfAServer:
    """What a database or a role has as its default changes nothing."""

    @pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
    async def test_a_guard_holds_whatever_the_default_isolation_is(self, own_database: str, isolation: str) -> None:
        await _set_default(own_database, "default_transaction_isolation", isolation)
        async with _opened(own_database) as store:
            await write(store, appending("seen"))
            async with store.transaction("read committed") as transaction:
                await transaction.write(appending("seen", 1))
                guarded = asyncio.create_task(store.write([appending("a", guards=[("seen", 1)])]))
                await _until_one_waits_for_a_lock(store)

            (outcome,) = await guarded
            assert isinstance(outcome, VersionConflict)
            assert await versions(store, "a") == []

    async def test_time_limits_and_notations_are_the_stores_own(self, own_database: str) -> None:
        await _set_default(own_database, "statement_timeout", "50ms")
        await _set_default(own_database, "TimeZone", "Asia/Tokyo")
        await _set_default(own_database, "DateStyle", "German")
        async with _opened(own_database) as store:
            (row,) = await store.fetch(
                Statement("SELECT pg_sleep(0.2), CAST(CAST('2026-01-31 12:00Z' AS timestamptz) AS text) AS noon", {})
            )

            assert row["noon"] == "2026-01-31 12:00:00+00"


class TestASilentServer:
    """Nothing is closed, and nothing comes through: whoever stops waiting is free at once."""

    @pytest.fixture
    def line(self, postgres_url: str) -> Iterator[Line]:
        with Line(postgres_url) as line:
            yield line

    @pytest.fixture
    async def distant(self, line: Line, postgres_place: PostgresPlace) -> AsyncIterator[PostgresStore]:
        """An open store by way of the line, with some connections."""
        store = PostgresStore(PostgresDatabase(line.url), postgres_place.schema())
        await store.open()
        await with_tables(store, PEOPLE)
        await asyncio.gather(*(store.head() for _ in range(4)))
        yield store
        await store.close()

    @pytest.mark.parametrize("operation", [*OPERATIONS], ids=lambda operation: operation.replace(" ", "_"))
    async def test_a_cancellation_is_one(self, distant: PostgresStore, line: Line, operation: str) -> None:
        line.black_hole()
        task = asyncio.ensure_future(OPERATIONS[operation](distant))
        await asyncio.sleep(0.1)

        task.cancel()
        await asyncio.wait([task])

        assert task.cancelled()

    async def test_a_cancellation_within_a_transaction_is_one(self, distant: PostgresStore, line: Line) -> None:
        inside = asyncio.Event()

        async def work() -> None:
            async with distant.transaction("read committed") as transaction:
                await transaction.write(appending("a"))
                line.black_hole()
                inside.set()
                await transaction.fetch(Statement("SELECT 1", {}))

        task = asyncio.create_task(work())
        await inside.wait()
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait([task])

        assert task.cancelled()

    async def test_a_cancellation_while_it_connects_is_one(self, line: Line) -> None:
        line.black_hole()
        task = asyncio.create_task(PostgresStore(PostgresDatabase(line.url), "bank").open())
        await asyncio.sleep(0.1)

        task.cancel()
        await asyncio.wait([task])

        assert task.cancelled()

    async def test_a_statement_that_takes_too_long_is_unavailable_and_may_have_run(
        self, line: Line, postgres_place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(database, "STATEMENT_TIMEOUT_SECONDS", 1.0)
        store = PostgresStore(PostgresDatabase(line.url), postgres_place.schema())
        await store.open()
        try:
            line.black_hole()

            with pytest.raises(StoreUnavailable) as refused:
                await store.write([appending("a")])
            assert refused.value.maybe_executed
        finally:
            await store.close()

    async def test_connections_that_the_network_forgot_are_replaced(
        self, distant: PostgresStore, line: Line, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(database, "END_SECONDS", 0.2)
        line.forget()

        for _ in range(2):  # the second one only if all were replaced: there are more connections than that
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await distant.head()
            await asyncio.sleep(1)

        assert await distant.head() == 0

    async def test_the_kernel_watches_over_connections(self, store: Store, postgres_place: PostgresPlace) -> None:
        own = PostgresDatabase(postgres_place.url)
        await own.open()
        try:
            async with own.connection() as connection:
                wire = connection._transport.get_extra_info("socket")
                assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                if hasattr(socket, "TCP_USER_TIMEOUT"):
                    assert 0 < wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 10_000
        finally:
            await own.close()


class TestOneDatabase:
    async def test_tables_of_two_modules_may_have_one_name(self, postgres_place: PostgresPlace) -> None:
        database = PostgresDatabase(postgres_place.url)
        stores = [PostgresStore(database, postgres_place.schema(module)) for module in ("shop", "bank")]
        for store, column in zip(stores, ("goods", "money"), strict=True):
            await store.open()
            await store.write([Changeset(statements=[Statement(f"CREATE TABLE things ({column} TEXT)", {})])])
            await store.write(
                [Changeset(statements=[Statement("INSERT INTO things VALUES (:what)", {"what": column})])]
            )
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
        assert isinstance(outcomes[1], ChangesetRefused)

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


LOCKS_HELD = Statement(
    "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted", {}
)
FEW = MAX_LOCKS + 4
"""And the locks that stand for all."""
BIG = 2 * MAX_LOCKS


async def _locks_held(transaction: Transaction) -> int:
    (row,) = await transaction.fetch(LOCKS_HELD)
    held: int = row["n"]
    return held


def _folds(count: int, start: int = 0) -> list[RowFold]:
    """Folds that count how often each of so many rows was folded."""

    def folding(number: int) -> RowFold:
        def fold(old: str | None) -> StoredRow:
            return StoredRow(("hall", number), (0,), str(int(old or 0) + 1))

        return RowFold(SEATS, ("hall", number), fold)

    return [folding(number) for number in range(start, start + count)]


class TestLocks:
    """The lock table is the server's: no transaction takes more of it than it may."""

    async def test_twenty_thousand_new_streams_in_one_unit_take_few_locks_and_neighbours_go_on(
        self, place: PostgresPlace, store: Store, open_stores: Any
    ) -> None:
        neighbour = await open_stores(place("neighbour"))

        async with store.transaction("read committed") as transaction:
            await transaction.write(Changeset(appends=[append(f"s{n}") for n in range(20_000)]))

            assert await _locks_held(transaction) <= FEW
            assert await write(neighbour, appending("a")) > 0
            assert (await neighbour.read_feed(0, 10)).position > 0

        assert await store.head() == 20_000

    async def test_many_units_of_one_transaction_take_few_locks_together(self, store: Store) -> None:
        async with store.transaction("read committed") as transaction:
            for n in range(5):
                await transaction.write(
                    Changeset(appends=[append(f"s{n}-{m}") for m in range(MAX_LOCKS // 2)], guards=[("seen", 0)])
                )

            assert await _locks_held(transaction) <= FEW

    async def test_many_folded_rows_take_few_locks(self, store: Store) -> None:
        await with_tables(store, SEATS)

        async with store.transaction("read committed") as transaction:
            await transaction.write(Changeset(rows=_folds(10 * BIG)))
            assert await _locks_held(transaction) <= FEW
        async with store.transaction("read committed") as transaction:
            for start in range(0, BIG, 50):
                await transaction.write(Changeset(rows=_folds(50, start)))
            assert await _locks_held(transaction) <= FEW

        assert (await store.get_rows(SEATS, [("hall", 0), ("hall", BIG), ("hall", 10 * BIG)])) == ["2", "1", None]

    async def test_a_unit_that_is_undone_gives_its_locks_back_and_the_next_takes_its_own(self, store: Store) -> None:
        await with_tables(store, SEATS)

        async with store.transaction("read committed") as transaction:
            with pytest.raises(VersionConflict):
                await transaction.write(Changeset(appends=[append(f"s{n}", 7) for n in range(BIG)]))
            with pytest.raises(StatementFailed):
                await transaction.write(Changeset(rows=_folds(BIG), statements=[Statement("NO SQL", {})]))
            assert await _locks_held(transaction) == 0
            await transaction.write(appending("a", rows=_folds(1)))
            assert await _locks_held(transaction) == 4

    @pytest.mark.parametrize("units", [1, 4], ids=["one unit", "four units"])
    async def test_a_batch_of_more_streams_than_locks_neither_deadlocks_nor_slips_past_a_check(
        self, store: Store, second_store: Store, monkeypatch: pytest.MonkeyPatch, units: int
    ) -> None:
        monkeypatch.setattr("craton.adapters.postgres.writer.ATTEMPTS", 1)  # a deadlock is not forgiven
        await with_tables(store, SEATS)
        streams = [f"s{n}" for n in range(BIG)]

        def big(version: int, order: int) -> list[Changeset]:
            """All streams, in one direction or the other, in a batch of so many runs."""
            names = streams[::order]
            size = BIG // units
            return [
                Changeset(
                    appends=[append(name, version) for name in names[start : start + size]],
                    rows=_folds(1),
                    statements=[Statement("SELECT 1", {})],
                )
                for start in range(0, BIG, size)
            ]

        written: Counter[str] = Counter()
        for version in range(4):
            batches = [
                (store, big(version, 1)),
                (second_store, big(version, -1)),
                (store, [appending(f"s{n}", version, rows=_folds(1)) for n in range(3)]),
                (second_store, [Changeset(appends=[append("s3", version), append("s1", version)], rows=_folds(1))]),
            ]
            found = await asyncio.gather(*(client.write(batch) for client, batch in batches))
            for unit, outcome in zip((u for _, batch in batches for u in batch), chain(*found), strict=True):
                assert isinstance(outcome, int | VersionConflict)
                if isinstance(outcome, int):
                    written.update([*unit.streams, "rows"])
            for late in [name for name in streams if written[name] == version]:
                await write(store, appending(late, version))
                written[late] += 1
            assert {written[name] for name in streams} == {version + 1}

        assert [await versions(store, name) for name in streams[:9]] == [[1, 2, 3, 4]] * 9
        assert len(await whole_feed(store, page=1_000)) == 4 * BIG
        assert await store.get_rows(SEATS, [("hall", 0)]) == [str(written["rows"])]

    async def test_of_two_transactions_that_come_to_need_all_locks_at_once_one_is_told_to_run_again(
        self, store: Store, second_store: Store
    ) -> None:
        both_have_written = asyncio.Barrier(2)

        async def grow(client: Store, name: str) -> None:
            async with client.transaction("read committed") as transaction:
                await transaction.write(appending(name))
                await both_have_written.wait()
                await transaction.write(Changeset(appends=[append(f"{name}{n}") for n in range(BIG)]))

        outcomes = await asyncio.gather(grow(store, "a"), grow(second_store, "b"), return_exceptions=True)

        (refusal,) = [outcome for outcome in outcomes if outcome is not None]
        assert isinstance(refusal, SerializationConflict)
        assert len(await whole_feed(store, page=1_000)) == BIG + 1

    async def test_many_folded_rows_at_once_lose_no_fold(
        self, store: Store, second_store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("craton.adapters.postgres.writer.ATTEMPTS", 1)
        await with_tables(store, SEATS)

        for _ in range(5):
            outcomes = await asyncio.gather(
                write(store, Changeset(rows=_folds(BIG))),
                write(second_store, Changeset(rows=_folds(BIG)[::-1])),
                write(store, Changeset(rows=_folds(5))),
                write(second_store, Changeset(rows=_folds(5, 2)[::-1])),
            )
            assert list(outcomes) == [0, 0, 0, 0]

        rows = await store.get_rows(SEATS, [("hall", n) for n in range(8)])
        assert rows == ["15", "15", "20", "20", "20", "15", "15", "10"]


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
        await write(store, Changeset(statements=[Statement("CREATE TABLE purses (id int PRIMARY KEY, coins int)", {})]))
        await write(store, Changeset(statements=[Statement("INSERT INTO purses VALUES (1, 5), (2, 5)", {})]))
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
            _query(frozen, f"BEGIN; SELECT * FROM {place.schema()}.lease_owners FOR SHARE")
            if half_sent:
                _send(frozen, b"P", _texts("", "SELECT 1") + struct.pack("!h", 0))
                _send(frozen, b"H", b"")
            await asyncio.sleep(0.1)
            assert await store.acquire("lease", "heir", 1.0) is None, "it isn't frozen at all"

            async with asyncio.timeout(15):
                while await store.acquire("lease", "heir", 1.0) is None:
                    await asyncio.sleep(0.1)


async def _set_default(url: str, setting: str, value: str) -> None:
    await asyncio.to_thread(run_sql, url, f"ALTER DATABASE {_database(url)} SET {setting} = '{value}'")


async def _until_one_waits_for_a_lock(store: Store) -> None:
    waits = Statement(
        "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database())",
        {},
    )
    while (await store.fetch(waits))[0]["n"] == 0:
        await asyncio.sleep(0.01)


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
