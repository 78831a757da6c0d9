"""MariaDB loses connections, falls silent, refuses, or is restarted: nothing is lost, and what is said is true."""

import asyncio
import contextlib
import logging
import shutil
import socket
import subprocess
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final
from urllib.parse import urlsplit

import asyncmy
import pytest

from craton.adapters.mariadb import MariaDbTables
from craton.adapters.sqlite import SqliteStore
from craton.application import Api, Database, Module, Unavailable, command, query, transaction
from craton.application.errors import WiringError
from craton.domain import uuid7
from craton.ports import (
    Changeset,
    ChangesetRefused,
    SerializationConflict,
    StatementFailed,
    Store,
    StoreUnavailable,
    Timer,
    Transaction,
)
from craton.testing import run
from craton.testing.conformance.making import NOON, append, appending, attempt, numbers, versions, write
from craton.testing.conformance.own_tables import (
    COLUMNS,
    answer,
    grow,
    ids_of,
    insert,
    size_of,
    statement,
    unit,
    with_notes,
)
from craton.testing.faults import Connection, Direction, Line
from tests.conftest import PostgresPlace

PATIENCE_SECONDS: Final = 8
"""Much more than the limits that a test sets, and less than a store that waits without a limit."""
ASLEEP: Final = statement("SELECT sleep(100) AS x FROM notes")
SECRET: Final = "correct-horse-battery"  # noqa: S105 — nobody's
Open = Callable[[str], Awaitable[Store]]


@pytest.fixture
def line(mariadb_url: str) -> Iterator[Line]:
    with Line(mariadb_url) as line:
        yield line


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str], MariaDbTables]:
    """Makes stores of one module whose tables are in the database at a URL."""
    return lambda url: MariaDbTables(SqliteStore(tmp_path / "bank.db", durable=False), url)


@pytest.fixture
def opened(make: Callable[[str], MariaDbTables], open_stores: Callable[[Store], Awaitable[Store]]) -> Open:
    return lambda url: open_stores(make(url))


@pytest.fixture
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store waits for answers of the server for a second, instead of longer than any statement may take."""
    monkeypatch.setattr("craton.adapters.mariadb.database.ANSWER_SECONDS", 1.0, raising=False)
    monkeypatch.setattr("craton.adapters.mariadb.database.CONNECT_SECONDS", 1)


# --- a second connection, which looks and kills ---------------------------------------------------------------------


async def ask(url: str, sql: str) -> list[Any]:
    """Run a statement on a connection of its own; return its rows."""
    async with connected(url) as connection, connection.cursor() as cursor:
        await cursor.execute(sql)
        return list(await cursor.fetchall())


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    parts = urlsplit(url)
    connection = await asyncmy.connect(
        host=parts.hostname or "", port=parts.port or 3306, user=parts.username or "", password=parts.password or ""
    )
    try:
        yield connection
    finally:
        connection.close()


async def number_of(transaction: Transaction) -> int:
    """The server's number of a transaction's connection."""
    (row,) = await transaction.fetch(statement("SELECT connection_id() AS number"))
    return int(row["number"])


async def running(url: str, what: str = "") -> list[int]:
    """The numbers of the connections to a database; with a text, of those that run a statement with it."""
    found = await ask(
        url, "SELECT id, info FROM information_schema.processlist WHERE db = '" + urlsplit(url).path[1:] + "'"
    )
    return [number for number, info in found if what in (info or "")]


async def until_it_runs(url: str, what: str) -> int:
    """Wait until the server runs a statement with a text; return the number of its connection."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (numbers := await running(url, what)):
            await asyncio.sleep(0.01)
    return numbers[0]


async def until_it_is_stopped(url: str, what: str) -> None:
    """Wait until the server doesn't run a statement any more, for less time than it takes to notice a lost client."""
    async with asyncio.timeout(3):
        while await running(url, what):
            await asyncio.sleep(0.01)


async def kill(url: str, number: int) -> None:
    with contextlib.suppress(asyncmy.errors.OperationalError):  # it has ended by itself
        await ask(url, f"KILL {number}")


async def kill_all(url: str) -> None:
    for number in await running(url):
        await kill(url, number)


# --- a connection is killed -----------------------------------------------------------------------------------------


async def test_connections_that_were_killed_while_idle_are_replaced_unnoticed(opened: Open, mariadb_url: str) -> None:
    store = await opened(mariadb_url)
    await with_notes(store, "one")
    await asyncio.gather(*(ids_of(store) for _ in range(10)))
    await kill_all(mariadb_url)

    assert await ids_of(store) == ["one"]
    assert await write(store, unit(insert("two"), result=answer("k"))) == 0
    await kill_all(mariadb_url)
    async with store.transaction("serializable") as transaction:
        await transaction.execute(insert("three"))

    assert await ids_of(store) == ["one", "three", "two"]


async def test_a_transaction_whose_connection_was_killed_has_no_effect_and_the_next_one_has(
    opened: Open, mariadb_url: str
) -> None:
    store = await opened(mariadb_url)
    await with_notes(store)

    with pytest.raises(StoreUnavailable) as lost:
        async with store.transaction("read committed") as transaction:
            await transaction.execute(insert("lost"))
            await kill(mariadb_url, await number_of(transaction))
            await transaction.execute(insert("not even sent"))

    assert not lost.value.maybe_executed
    await write(store, unit(insert("found")))
    assert await ids_of(store) == ["found"]


async def test_a_transaction_that_goes_on_after_its_connection_was_lost_is_told_so_each_time(
    opened: Open, mariadb_url: str
) -> None:
    store = await opened(mariadb_url)
    await with_notes(store)
    problems = []

    with pytest.raises(StoreUnavailable):
        async with store.transaction("read committed") as transaction:
            await transaction.execute(insert("lost"))
            await kill(mariadb_url, await number_of(transaction))
            for _ in range(3):
                try:
                    await transaction.write(unit(insert("lost too"), result=answer("k")))
                except Exception as problem:
                    problems.append(type(problem))

    assert problems == [StoreUnavailable] * 3
    assert await ids_of(store) == []
    assert await store.find_result("ann/pay", "k") is None


async def test_a_statement_whose_connection_is_killed_has_not_run(opened: Open, mariadb_url: str) -> None:
    store = await opened(mariadb_url)
    await with_notes(store)
    slow = statement("INSERT INTO notes (id, size) SELECT 'slow', sleep(100)")

    task = asyncio.create_task(attempt(store, unit(insert("lost"), slow, result=answer("k"))))
    await kill(mariadb_url, await until_it_runs(mariadb_url, "sleep(100)"))
    outcome = await task

    assert isinstance(outcome, StoreUnavailable)
    assert not outcome.maybe_executed
    assert await ids_of(store) == []
    assert await store.find_result("ann/pay", "k") is None


async def test_a_reading_statement_whose_connection_is_killed_is_no_fault_of_the_statement(
    opened: Open, mariadb_url: str
) -> None:
    store = await opened(mariadb_url)

    task = asyncio.ensure_future(store.fetch(statement("SELECT sleep(100) AS x")))
    await kill(mariadb_url, await until_it_runs(mariadb_url, "sleep(100)"))

    with pytest.raises(StoreUnavailable):
        await task
    assert list(await store.fetch(statement("SELECT 1 AS x"))) == [{"x": 1}]


async def test_a_commit_whose_connection_was_killed_is_no_success_and_its_key_is_free(
    opened: Open, mariadb_url: str
) -> None:
    store = await opened(mariadb_url)
    await with_notes(store)

    with pytest.raises(StoreUnavailable):
        async with store.transaction("read committed") as transaction:
            await transaction.write(unit(insert("lost"), result=answer("k")))
            await kill(mariadb_url, await number_of(transaction))

    assert await ids_of(store) == []
    assert await store.find_result("ann/pay", "k") is None
    await write(store, unit(insert("found"), result=answer("k")))
    assert await ids_of(store) == ["found"]


async def test_connections_that_are_killed_again_and_again_cost_no_place_in_the_pool(
    opened: Open, mariadb_url: str
) -> None:
    store = await opened(mariadb_url)
    await with_notes(store, "one")

    for _ in range(25):
        with pytest.raises(StoreUnavailable):
            async with store.transaction("read committed") as transaction:
                await kill(mariadb_url, await number_of(transaction))

    await asyncio.gather(*(grow(store, "one") for _ in range(25)))
    assert await size_of(store, "one") == 26
    assert len(await running(mariadb_url)) <= 10


async def test_under_kills_what_was_answered_is_there_once_and_what_was_refused_is_not(
    opened: Open, mariadb_url: str
) -> None:
    store = await opened(mariadb_url)
    await with_notes(store)
    units = {f"{number}": unit(insert(f"{number}"), result=answer(f"{number}")) for number in range(200)}

    async def writing() -> dict[str, Any]:
        return {id: await attempt(store, each) for id, each in units.items()}

    task = asyncio.create_task(writing())
    while not task.done():
        await kill_all(mariadb_url)
        await asyncio.sleep(0)
    outcomes = await task

    there = set(await ids_of(store))
    assert {id for id, outcome in outcomes.items() if outcome == 0} <= there
    assert {id for id, outcome in outcomes.items() if outcome != 0 and not outcome.maybe_executed} & there == set()
    assert [id for id in units if await store.find_result("ann/pay", id)] == [id for id in units if id in there]


# --- the answer never comes -----------------------------------------------------------------------------------------


class Lossy(Line):
    """A line that, when it is told to, passes the next COMMIT of a change on to the server, and is cut when the answer
    comes."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._is_armed = False
        self._changed: set[Connection] = set()
        self._lost: set[Connection] = set()

    def lose_the_next_commit(self) -> None:
        self._is_armed = True

    def _say(self, connection: Connection, sink: socket.socket, data: bytes, way: Direction) -> None:
        if way == "up" and b"INSERT" in data:
            self._changed.add(connection)
        if way == "up" and self._is_armed and connection in self._changed and b"COMMIT" in data:
            self._is_armed = False
            self._lost.add(connection)
        if way == "down" and connection in self._lost:
            self.cut()
        else:
            super()._say(connection, sink, data, way)


@pytest.fixture
def lossy(mariadb_url: str) -> Iterator[Lossy]:
    with Lossy(mariadb_url) as line:
        yield line


async def test_a_unit_whose_commit_was_not_answered_may_be_there_and_its_key_tells(opened: Open, lossy: Lossy) -> None:
    store = await opened(lossy.url)
    await with_notes(store)
    lossy.lose_the_next_commit()

    outcome = await attempt(store, unit(insert("one"), result=answer("k")))

    assert isinstance(outcome, StoreUnavailable)
    assert outcome.maybe_executed
    assert await store.find_result("ann/pay", "k") == answer("k")
    assert await ids_of(store) == ["one"]


async def test_a_transaction_whose_commit_was_not_answered_may_be_there_and_its_key_tells(
    opened: Open, lossy: Lossy
) -> None:
    store = await opened(lossy.url)
    await with_notes(store)

    with pytest.raises(StoreUnavailable) as lost:
        async with store.transaction("serializable") as transaction:
            await transaction.execute(insert("one"))
            await transaction.write(unit(insert("two"), result=answer("k")))
            lossy.lose_the_next_commit()

    assert lost.value.maybe_executed
    assert await store.find_result("ann/pay", "k") == answer("k")
    assert await ids_of(store) == ["one", "two"]


class Notes(Api):
    @command
    async def add(self, text: str) -> str: ...

    @command
    async def add_in_a_transaction(self, text: str) -> str: ...

    @query
    async def texts(self) -> tuple[str, ...]: ...


class NotesService(Notes):
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, text: str) -> str:
        id = uuid7()
        await self._database.execute("INSERT INTO notes (id, title) VALUES (:id, :text)", id=id, text=text)
        return id

    async def add_in_a_transaction(self, text: str) -> str:
        async with transaction():
            return await self.add(text)

    async def texts(self) -> tuple[str, ...]:
        return tuple(row["title"] for row in await self._database.fetch("SELECT title FROM notes ORDER BY id"))


def notes(url: str) -> Module:
    """A module that keeps its tables in the database at a URL."""
    return Module(
        "notes",
        api=Notes,
        service=NotesService,
        tables=[f"CREATE TABLE IF NOT EXISTS notes {COLUMNS}"],
        database=lambda store, _: MariaDbTables(store, url),
    )


@pytest.mark.parametrize("way", ["add", "add_in_a_transaction"])
async def test_a_command_that_is_repeated_under_its_key_runs_once_although_its_answer_was_lost(
    lossy: Lossy, tmp_path: Path, way: str
) -> None:
    async with run(notes(lossy.url), store="sqlite", folder=tmp_path) as app:
        ann = app.as_("ann").once("k").api(Notes)
        lossy.lose_the_next_commit()

        with pytest.raises(Unavailable) as lost:
            await getattr(ann, way)("one")

        assert lost.value.maybe_executed
        first, second = await getattr(ann, way)("one"), await getattr(ann, way)("one")
        assert await ann.texts() == ("one",)

    async with run(notes(lossy.url), store="sqlite", folder=tmp_path) as another_process:
        ann = another_process.as_("ann").once("k").api(Notes)
        assert [first, second] == [await getattr(ann, way)("one")] * 2
        assert await ann.texts() == ("one",)


async def test_a_command_whose_process_lost_the_answer_and_ended_runs_once(lossy: Lossy, tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        async with run(notes(lossy.url), store="sqlite", folder=tmp_path) as app:
            lossy.lose_the_next_commit()
            await app.as_("ann").once("k").api(Notes).add("one")

    async with run(notes(lossy.url), store="sqlite", folder=tmp_path) as app:
        ann = app.as_("ann").once("k").api(Notes)
        first, second = await ann.add("one"), await ann.add("one")

        assert first == second
        assert await ann.texts() == ("one",)


# --- the line is silent ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("short_limits")
async def test_a_commit_that_a_silent_server_does_not_answer_ends_in_time_and_may_have_run(
    opened: Open, line: Line
) -> None:
    store = await opened(line.url)
    await with_notes(store)
    line.black_hole_at(b"COMMIT")

    async with asyncio.timeout(PATIENCE_SECONDS):
        outcome = await attempt(store, unit(insert("one"), result=answer("k")))

    assert isinstance(outcome, StoreUnavailable)
    assert outcome.maybe_executed


@pytest.mark.usefixtures("short_limits")
async def test_a_statement_that_a_silent_server_does_not_answer_ends_in_time_and_has_not_run(
    opened: Open, line: Line
) -> None:
    store = await opened(line.url)
    await with_notes(store)
    line.black_hole_at(b"INSERT")

    async with asyncio.timeout(PATIENCE_SECONDS):
        outcome = await attempt(store, unit(insert("one"), result=answer("k")))

    assert isinstance(outcome, StoreUnavailable)
    assert not outcome.maybe_executed
    line.cut()
    line.heal()
    assert await ids_of(store) == []


@pytest.mark.usefixtures("short_limits")
async def test_idle_connections_that_the_network_has_forgotten_are_noticed_in_time(opened: Open, line: Line) -> None:
    store = await opened(line.url)
    await with_notes(store, "one")
    line.forget()

    async with asyncio.timeout(PATIENCE_SECONDS):
        with contextlib.suppress(StoreUnavailable):  # the first one may be told; the connections are then replaced
            await ids_of(store)
        assert await ids_of(store) == ["one"]


@pytest.mark.usefixtures("short_limits")
async def test_while_the_server_is_silent_everything_that_needs_it_ends_in_time(opened: Open, line: Line) -> None:
    store = await opened(line.url)
    await with_notes(store, "one")
    line.black_hole()
    line.cut()

    async with asyncio.timeout(PATIENCE_SECONDS):
        problems = await asyncio.gather(
            store.ping(), ids_of(store), grow(store, "one"), write(store, unit(insert("two"))), return_exceptions=True
        )

    assert [type(problem) for problem in problems] == [StoreUnavailable] * 4
    line.cut()
    line.heal()
    assert await ids_of(store) == ["one"]


@pytest.mark.usefixtures("short_limits")
async def test_an_error_of_the_use_case_comes_out_as_it_is_though_the_server_is_silent(
    opened: Open, line: Line
) -> None:
    store = await opened(line.url)
    await with_notes(store)
    problem = ValueError("of the use case")

    with pytest.raises(ValueError, match="of the use case") as raised:
        async with store.transaction("read committed") as transaction:
            await transaction.execute(insert("one"))
            line.black_hole()
            raise problem

    assert raised.value is problem
    line.cut()
    line.heal()
    assert await ids_of(store) == []


async def test_a_cancelled_statement_ends_at_once_though_the_server_is_silent(opened: Open, line: Line) -> None:
    store = await opened(line.url)
    await with_notes(store)
    line.black_hole_at(b"INSERT")
    task = asyncio.create_task(attempt(store, unit(insert("one"))))
    while not line.fell_silent.is_set():
        await asyncio.sleep(0.01)

    task.cancel()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.wait([task])

    assert task.cancelled()


async def test_the_server_ends_a_transaction_of_a_process_that_says_nothing_more(
    opened: Open, mariadb_url: str
) -> None:
    store = await opened(mariadb_url)

    async with store.transaction("read committed") as transaction:
        (row,) = await transaction.fetch(statement("SELECT @@idle_transaction_timeout AS seconds"))

    assert 0 < row["seconds"] <= 60


# --- at the start ---------------------------------------------------------------------------------------------------


async def test_a_server_that_refuses_connections_is_named_without_the_password_and_may_come_later(
    make: Callable[[str], MariaDbTables], mariadb_url: str
) -> None:
    with Line(mariadb_url) as line:
        url = line.url.replace("root@", f"root:{SECRET}@")
    store = make(url)

    with pytest.raises(StoreUnavailable, match=r"^MariaDB can't be reached: .*127\.0\.0\.1") as refused:
        await store.open()

    assert not refused.value.maybe_executed
    assert SECRET not in told(refused.value)
    working = make(mariadb_url)
    await working.open()
    await working.close()


@pytest.mark.usefixtures("short_limits")
async def test_a_server_that_accepts_connections_and_says_nothing_is_given_up_at_the_start(
    make: Callable[[str], MariaDbTables], line: Line
) -> None:
    line.black_hole()
    store = make(line.url)

    with pytest.raises(StoreUnavailable):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await store.open()


async def test_a_store_that_could_not_be_opened_can_be_opened_later(
    make: Callable[[str], MariaDbTables], mariadb_url: str
) -> None:
    await ask(mariadb_url, "DROP DATABASE " + urlsplit(mariadb_url).path[1:])
    store = make(mariadb_url)
    with pytest.raises(StoreUnavailable, match="Unknown database"):
        await store.open()
    await ask(mariadb_url, "CREATE DATABASE " + urlsplit(mariadb_url).path[1:])

    await store.open()

    await with_notes(store, "one")
    assert await ids_of(store) == ["one"]
    await store.close()
    assert await running(mariadb_url) == []


async def test_a_wrong_password_is_told_without_it(make: Callable[[str], MariaDbTables], mariadb_url: str) -> None:
    store = make(mariadb_url.replace("root@", f"root:{SECRET}@"))

    with pytest.raises(StoreUnavailable, match="Access denied") as refused:
        await store.open()

    assert SECRET not in told(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nothing",
        f"root:{SECRET}@127.0.0.1/name",
        f"mysql://root:{SECRET}@127.0.0.1:3306",
        f"mysql://root:{SECRET}@127.0.0.1:three/name",
        f"mysql://root:{SECRET}@/name",
        f"mysql://root:x@{SECRET}@127.0.0.1:3306/name",
        f"mysql://127.0.0.1:3306?user=root&password={SECRET}",
        f"postgresql://root:{SECRET}@127.0.0.1/name",
        f"mysql://root:{SECRET}@127.0.0.1/name?nonsense=1",
    ],
)
def test_a_url_that_does_not_fit_is_refused_before_the_start_without_its_password(
    make: Callable[[str], MariaDbTables], url: str
) -> None:
    with pytest.raises(WiringError) as refused:
        make(url)

    assert SECRET not in told(refused.value)


@pytest.mark.parametrize("option", ["autocommit=1", "autocommit=true", "init_command=SET autocommit=1", "sql_mode=''"])
def test_options_of_the_url_that_would_make_units_halves_are_refused(
    make: Callable[[str], MariaDbTables], mariadb_url: str, option: str
) -> None:
    with pytest.raises(WiringError, match="options that aren't known"):
        make(f"{mariadb_url}?{option}")


# --- what a unit may hold -------------------------------------------------------------------------------------------


async def test_a_unit_of_events_and_statements_is_refused_in_a_sentence_and_harms_no_neighbour(
    opened: Open, mariadb_url: str
) -> None:
    store = await opened(mariadb_url)
    await with_notes(store)
    timer = Timer("t", NOON, "remind", "{}", "{}")

    outcomes = await store.write(
        [
            unit(insert("one")),
            Changeset(appends=[append("a")], statements=[insert("mixed")]),
            appending("b"),
            Changeset(timers=[timer], statements=[insert("mixed")], result=answer("k")),
            unit(insert("two"), result=answer("own")),
        ]
    )

    assert numbers(outcomes) == [True, False, True, False, True]
    for refusal in (outcomes[1], outcomes[3]):
        assert isinstance(refusal, StatementFailed)
        assert "can't hold SQL" in str(refusal)
    assert await ids_of(store) == ["one", "two"]
    assert [await versions(store, name) for name in "ab"] == [[], [1]]
    assert await store.due_timers(NOON, 10) == []
    assert await store.find_result("ann/pay", "k") is None


async def test_a_transaction_refuses_events_in_a_sentence_and_goes_on(opened: Open, mariadb_url: str) -> None:
    store = await opened(mariadb_url)
    await with_notes(store)

    async with store.transaction("read committed") as transaction:
        await transaction.execute(insert("one"))
        with pytest.raises(StatementFailed, match="can't hold events"):
            await transaction.write(appending("a", statements=[insert("mixed")]))

    assert await ids_of(store) == ["one"]
    assert await versions(store, "a") == []


async def test_when_the_other_store_fails_the_units_that_are_committed_are_not_said_to_be_not(
    mariadb_url: str, postgres_url: str, postgres_place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("craton.adapters.postgres.database.CONNECT_TIMEOUT_SECONDS", 1)
    with Line(postgres_url) as line:
        postgres_place.url = line.url
        store = MariaDbTables(postgres_place(), mariadb_url)
        await store.open()
        await with_notes(store)
    postgres_place.url = postgres_url

    try:
        outcomes = list(await store.write([unit(insert("one"), result=answer("k")), appending("a")]))
    except StoreUnavailable as problem:
        outcomes = [problem] * 2

    there = await ids_of(store)
    await store.close()
    assert there == ["one"]
    assert outcomes[0] == 0 or (isinstance(outcomes[0], StoreUnavailable) and outcomes[0].maybe_executed)
    assert isinstance(outcomes[1], StoreUnavailable)


# --- refusals of the server -----------------------------------------------------------------------------------------


async def test_a_statement_that_is_larger_than_the_server_takes_is_its_own_fault_and_costs_no_connection(
    opened: Open, mariadb_url: str
) -> None:
    store = await opened(mariadb_url)
    await with_notes(store, "one")
    ((limit,),) = await ask(mariadb_url, "SELECT @@max_allowed_packet")
    large = statement("UPDATE notes SET size = length(:text)", text="x" * limit)

    for _ in range(12):
        (outcome,) = await store.write([unit(insert("undone"), large)])
        assert isinstance(outcome, StatementFailed)

    await asyncio.gather(*(grow(store, "one") for _ in range(12)))
    assert await size_of(store, "one") == 13
    assert await ids_of(store) == ["one"]


async def test_a_transaction_that_lost_against_another_can_neither_be_used_nor_committed(
    opened: Open, mariadb_url: str
) -> None:
    store = await opened(mariadb_url)
    await with_notes(store, "one", "two")
    set_size = "UPDATE notes SET size = :size WHERE id = :id"
    problems: list[BaseException] = []

    async def work(first: str, second: str, ready: asyncio.Event, other: asyncio.Event) -> None:
        async with store.transaction("read committed") as transaction:
            await transaction.execute(insert(f"{first}, {second}"))
            await transaction.execute(statement(set_size, id=first, size=2))
            ready.set()
            await other.wait()
            try:
                await transaction.execute(statement(set_size, id=second, size=3))
            except SerializationConflict:
                for more in (
                    transaction.execute(insert("after all")),
                    transaction.fetch(statement("SELECT 1 AS one")),
                    transaction.write(unit(insert("after all"), result=answer("k"))),
                ):
                    try:
                        await more
                    except ChangesetRefused as problem:
                        problems.append(problem)

    here, there = asyncio.Event(), asyncio.Event()
    ends = await asyncio.gather(
        work("one", "two", here, there), work("two", "one", there, here), return_exceptions=True
    )

    assert sorted(type(end).__name__ for end in ends) == ["NoneType", "SerializationConflict"]
    assert [type(problem) for problem in problems] == [SerializationConflict] * 3
    winner = ("one, two", "two, one")[ends.index(None)]
    assert await ids_of(store) == sorted(["one", "two", winner])
    assert await store.find_result("ann/pay", "k") is None


async def test_waiting_too_long_for_a_lock_is_a_conflict_and_undoes_all(
    opened: Open, mariadb_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "craton.adapters.mariadb.database.SESSION",
        (await session()).replace("innodb_lock_wait_timeout = 5", "innodb_lock_wait_timeout = 1"),
    )
    store = await opened(mariadb_url)
    await with_notes(store, "one")

    async with store.transaction("read committed") as holding:
        await holding.execute(statement("UPDATE notes SET size = 2"))
        outcome = await attempt(store, unit(insert("undone"), statement("UPDATE notes SET size = 3")))

    assert isinstance(outcome, SerializationConflict)
    assert (await ids_of(store), await size_of(store, "one")) == (["one"], 2)


async def session() -> str:
    from craton.adapters.mariadb.database import SESSION  # noqa: PLC0415 — as it is before it is changed

    assert "innodb_lock_wait_timeout = 5" in SESSION
    return SESSION


async def test_the_server_does_not_go_on_with_a_statement_that_was_cancelled(opened: Open, mariadb_url: str) -> None:
    store = await opened(mariadb_url)
    await with_notes(store, "one")

    for work in (store.fetch(ASLEEP), write(store, unit(ASLEEP)), _within(store)):
        task = asyncio.ensure_future(work)
        await until_it_runs(mariadb_url, "sleep(100)")
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await until_it_is_stopped(mariadb_url, "sleep(100)")


async def _within(store: Store) -> None:
    async with store.transaction("read committed") as transaction:
        await transaction.execute(ASLEEP)


async def test_a_transaction_that_gives_up_a_statement_and_fails_leaves_nothing_running(
    opened: Open, mariadb_url: str
) -> None:
    store = await opened(mariadb_url)
    await with_notes(store, "one")

    with pytest.raises((ChangesetRefused, StoreUnavailable)):
        async with store.transaction("read committed") as transaction:
            await transaction.execute(statement("UPDATE notes SET size = 2"))
            with contextlib.suppress(asyncio.CancelledError):
                task = asyncio.ensure_future(transaction.fetch(ASLEEP))
                await until_it_runs(mariadb_url, "sleep(100)")
                task.cancel()
                await task
            await transaction.execute(insert("two"))

    await until_it_is_stopped(mariadb_url, "sleep(100)")
    assert (await ids_of(store), await size_of(store, "one")) == (["one"], 1)


async def test_a_closed_store_has_no_connection_left_whatever_was_cancelled(
    make: Callable[[str], MariaDbTables], mariadb_url: str
) -> None:
    for pauses in range(20):
        store = make(mariadb_url)
        await store.open()
        task = asyncio.ensure_future(store.fetch(statement("SELECT sleep(100) AS x")))
        for _ in range(pauses):
            await asyncio.sleep(0.0005)
        task.cancel()
        await asyncio.wait([task])
        await store.close()

    async with asyncio.timeout(PATIENCE_SECONDS):
        while await running(mariadb_url):
            await asyncio.sleep(0.01)


# --- secrets --------------------------------------------------------------------------------------------------------


def told(problem: BaseException) -> str:
    """All that a log shows of an error."""
    return "".join(traceback.format_exception(problem))


async def test_values_of_statements_are_in_no_error_and_in_no_log(
    opened: Open, mariadb_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    store = await opened(mariadb_url)
    await with_notes(store, "one")
    problems: list[Any] = [
        await attempt(store, unit(wrong))
        for wrong in (
            insert("one", title=SECRET),
            insert("two", title=SECRET, size=-1),
            statement("INSERT INTO nowhere VALUES (:secret)", secret=SECRET),
            statement("UPDATE notes SET size = :size, title = :secret", size=2**63 - 1, secret=SECRET * 9),
        )
    ]
    slow = statement("INSERT INTO notes (id, title, size) SELECT 'slow', :secret, sleep(100)", secret=SECRET)
    task = asyncio.create_task(attempt(store, unit(slow)))
    await kill(mariadb_url, await until_it_runs(mariadb_url, "sleep(100)"))
    problems.append(await task)

    assert [type(problem).__name__ for problem in problems] == [
        "NotUnique",
        *["StatementFailed"] * 3,
        "StoreUnavailable",
    ]
    assert [problem for problem in problems if SECRET in told(problem)] == []
    assert SECRET not in caplog.text


async def test_values_that_the_server_warns_of_are_in_no_log(
    opened: Open, mariadb_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    store = await opened(mariadb_url)
    await with_notes(store)
    await write(store, unit(insert("one", title=SECRET)))

    found = await store.fetch(statement("SELECT id FROM notes WHERE title = 1 OR :secret = 1", secret=SECRET))

    assert list(found) == []
    assert SECRET not in caplog.text


# --- a server of its own --------------------------------------------------------------------------------------------


class Server:
    """A MariaDB server that nobody else uses, so that it can be stopped."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"mysql://root@127.0.0.1:{self.port}/own"

    def make(self) -> None:
        user = ["--user=mysql"]
        command = ["mariadb-install-db", "--no-defaults", *user, "--skip-test-db", f"--datadir={self._folder / 'data'}"]
        done = subprocess.run(
            [*command, "--auth-root-authentication-method=normal"], capture_output=True, timeout=120, check=False
        )
        assert done.returncode == 0, (done.stdout + done.stderr).decode()

    async def start(self) -> None:
        with (self._folder / "server.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                "mariadbd",
                "--no-defaults",
                "--user=mysql",
                "--bind-address=127.0.0.1",
                f"--port={self.port}",
                f"--datadir={self._folder / 'data'}",
                f"--socket={self._folder / 'socket'}",
                f"--pid-file={self._folder / 'pid'}",
                "--innodb-buffer-pool-size=16M",
                "--max-connections=20",
                stdout=log,
                stderr=log,
            )
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(OSError, asyncmy.errors.Error):
                    await ask(self.url, "CREATE DATABASE IF NOT EXISTS own")
                    return
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    if shutil.which("mariadbd") is None or shutil.which("mariadb-install-db") is None:
        pytest.skip("there are no programs of a MariaDB server here")
    folder = Path(mkdtemp(prefix="craton-mariadb-"))
    with contextlib.suppress(PermissionError):
        shutil.chown(folder, "mysql", "mysql")
    found = Server(folder)
    try:
        found.make()
        await found.start()
        yield found
    finally:
        await found.kill()
        shutil.rmtree(folder)


async def test_a_server_that_is_killed_and_started_again_has_all_that_was_answered_and_is_used_again(
    opened: Open, server: Server
) -> None:
    store = await opened(server.url)
    await with_notes(store, "one")
    await write(store, unit(insert("two"), result=answer("k")))
    await server.kill()
    refused = await attempt(store, unit(insert("three"), result=answer("later")))
    with pytest.raises(StoreUnavailable):
        await store.ping()

    await server.start()

    assert isinstance(refused, StoreUnavailable)
    assert not refused.maybe_executed
    assert await ids_of(store) == ["one", "two"]
    assert await store.find_result("ann/pay", "k") == answer("k")
    await write(store, unit(insert("three"), result=answer("later")))


async def test_a_connection_that_was_lost_with_its_server_does_not_stop_another_ones_after_the_restart(
    opened: Open, server: Server
) -> None:
    store = await opened(server.url)
    await with_notes(store)

    async with contextlib.AsyncExitStack() as others:
        with contextlib.suppress(StoreUnavailable):
            async with store.transaction("read committed") as transaction:
                number = await number_of(transaction)
                await server.kill()
                await server.start()
                while True:  # the server counts anew
                    other = await others.enter_async_context(connected(server.url))
                    if other.thread_id() >= number:
                        break
                await transaction.execute(insert("lost"))

        assert other.thread_id() == number
        await other.ping(reconnect=False)


async def test_a_server_that_has_no_connection_left_is_unavailable_until_it_has(opened: Open, server: Server) -> None:
    store = await opened(server.url)
    await with_notes(store, "one")
    async with contextlib.AsyncExitStack() as others:
        with contextlib.suppress(asyncmy.errors.Error):
            while True:
                await others.enter_async_context(connected(server.url))

        problems = await asyncio.gather(*(ids_of(store) for _ in range(3)), return_exceptions=True)

    assert {type(problem) for problem in problems if problem != ["one"]} <= {StoreUnavailable}
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await asyncio.gather(*(attempt(store, unit()) for _ in range(10))) != [0] * 10:
            await asyncio.sleep(0.01)
