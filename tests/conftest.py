"""Fixtures that all tests share: the stores, each in a place of its own, and a limit for what never ends."""

import asyncio
import functools
import inspect
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit
from uuid import uuid4

import asyncmy
import asyncpg
import pytest
import redis

pytest.register_assert_rewrite("craton.testing.conformance")

from craton.adapters.postgres import PostgresDatabase, PostgresStore  # noqa: E402
from craton.adapters.sqlite import SqliteStore  # noqa: E402
from craton.ports import Store  # noqa: E402
from craton.runtime.process.garbage import collect_rarely  # noqa: E402
from tests.crash.databases import fresh_database  # noqa: E402
from tests.market.topology import choose  # noqa: E402

POSTGRES_URL = os.environ.get("CRATON_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/test")
MARIADB_URL = os.environ.get("CRATON_TEST_MARIADB", "mysql://root@127.0.0.1:3306")
REDIS_URL = os.environ.get("CRATON_TEST_REDIS", "redis://127.0.0.1:6379/0")
SERVICES_REQUIRED = os.environ.get("CRATON_REQUIRE_SERVICES") == "1"
TEST_SECONDS = 300
"""A test that waits this long waits for something that never comes, on a slow and busy machine, too."""
LIMITS: Final = (
    "craton.adapters.http.endpoint.DEFAULT_TIMEOUT_SECONDS",
    "craton.adapters.http.handlers.DEFAULT_TIMEOUT_SECONDS",
    "craton.adapters.postgres.database.CONNECT_TIMEOUT_SECONDS",
    "craton.adapters.postgres.database.STATEMENT_TIMEOUT_SECONDS",
    "craton.runtime.projections.live_view.VIEW_WAIT_SECONDS",
    "craton.runtime.commands.execution.MAX_COLLIDING_SECONDS",
)
"""How long the program itself waits for an answer, a connection, a view, and for others that change the same."""
RUN_BY_ONE_WORKER: Final = (
    "tests/crash/test_crash_points.py",
    "tests/crash/test_market_crashes.py",
    "tests/failure/test_hostile_http.py",
    "tests/http/test_description.py",
    "tests/http/test_schema.py",
    "tests/market/courses/test_grpc.py",
    "tests/market/payments/test_stripe.py",
    "tests/market/payments/test_webhooks.py",
)
"""Files whose tests look at one thing that takes long to make: a worker of their own makes it once."""


class Place(Protocol):
    """Where the stores of one test keep their data. Each call makes another client, as another process would."""

    name: str

    def __call__(self, module: str = "bank") -> Store:
        """Return a store, not yet opened."""


class SqlitePlace:
    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, module: str = "bank") -> Store:
        return SqliteStore(self.folder / f"{module}.db", durable=False)


class PostgresPlace:
    name = "postgres"

    def __init__(self, url: str) -> None:
        self.url = url
        self.prefix = f"craton_test_{uuid4().hex[:12]}"

    def __call__(self, module: str = "bank") -> Store:
        return PostgresStore(PostgresDatabase(self.url), self.schema(module))

    def schema(self, module: str = "bank") -> str:
        return f"{self.prefix}_{module}"

    async def drop(self) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            for row in await connection.fetch(
                "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, $1)", self.prefix
            ):
                await connection.execute(f"DROP SCHEMA {row['nspname']} CASCADE")
        finally:
            await connection.close()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program gives up only what never ends; otherwise a busy machine would decide what a test sees.

    A test of such a limit sets it anew.
    """
    for limit in LIMITS:
        monkeypatch.setattr(limit, TEST_SECONDS)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a database that no other worker uses; without a Postgres the test is skipped.

    What a test does to a database (it stops a session, floods the channel) reaches no test that runs beside it. If
    services are required, the test fails instead of being skipped.
    """
    with ThreadPoolExecutor(1) as thread:  # the test that asks may be running in an event loop
        problem = thread.submit(asyncio.run, _problem_of(POSTGRES_URL)).result()
    if problem and SERVICES_REQUIRED:
        pytest.fail(problem, pytrace=False)
    if problem:
        pytest.skip(problem)
    with fresh_database(POSTGRES_URL) as url:
        yield url


async def _problem_of(url: str) -> str | None:
    try:
        connection = await asyncpg.connect(url, timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError) as problem:
        return f"Postgres can't be reached at {urlsplit(url).hostname}: {type(problem).__name__}"
    await connection.close()
    return None


@pytest.fixture
async def postgres_place(postgres_url: str) -> AsyncIterator[PostgresPlace]:
    place = PostgresPlace(postgres_url)
    yield place
    await place.drop()


@pytest.fixture
def mariadb_url() -> Iterator[str]:
    """The URL of a database of the test's own; without a MariaDB the test is skipped, or fails if it is required."""
    name = f"craton_test_{uuid4().hex[:12]}"
    with ThreadPoolExecutor(1) as thread:
        problem = thread.submit(asyncio.run, _ask_mariadb(f"CREATE DATABASE {name}")).result()
        if problem and SERVICES_REQUIRED:
            pytest.fail(problem, pytrace=False)
        if problem:
            pytest.skip(problem)
        yield f"{MARIADB_URL}/{name}"
        thread.submit(asyncio.run, _ask_mariadb(f"DROP DATABASE {name}")).result()


async def _ask_mariadb(sql: str) -> str | None:
    """Run a statement; return why it can't be run."""
    parts = urlsplit(MARIADB_URL)
    host, port = parts.hostname or "127.0.0.1", parts.port or 3306
    try:
        connection = await asyncmy.connect(
            host=host, port=port, user=parts.username or "root", password=parts.password or "", connect_timeout=5
        )
    except (OSError, asyncmy.errors.Error) as problem:
        return f"MariaDB can't be reached at {host}: {type(problem).__name__}"
    async with connection.cursor() as cursor:
        await cursor.execute(sql)
    await connection.ensure_closed()
    return None


@pytest.fixture
def redis_url() -> str:
    """The URL of a Redis; without one the test is skipped, or fails if it is required."""
    problem = ""
    try:
        with redis.Redis.from_url(REDIS_URL, socket_connect_timeout=5) as client:
            client.ping()
    except redis.RedisError as found:
        problem = f"Redis can't be reached at {urlsplit(REDIS_URL).hostname}: {type(found).__name__}"
    if problem and SERVICES_REQUIRED:
        pytest.fail(problem, pytrace=False)
    if problem:
        pytest.skip(problem)
    return REDIS_URL


@pytest.fixture
def sqlite_place(tmp_path: Path) -> SqlitePlace:
    return SqlitePlace(tmp_path)


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found


@pytest.fixture
async def open_stores() -> AsyncIterator[Callable[[Store], Any]]:
    """Opens stores; all of them are closed at the end of the test."""
    async with AsyncExitStack() as stack:

        async def open_store(store: Store) -> Store:
            await store.open()
            stack.push_async_callback(store.close)
            return store

        yield open_store


@pytest.fixture
async def store(place: Place, open_stores: Callable[[Store], Any]) -> Store:
    opened: Store = await open_stores(place())
    return opened


@pytest.fixture
async def second_store(place: Place, store: Store, open_stores: Callable[[Store], Any]) -> Store:
    """Another client of the data of `store`."""
    opened: Store = await open_stores(place())
    return opened


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With workers (`-n`), the files above go to one worker each, the biggest first; then each test to who is free."""
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 — only with workers

    class Scheduler(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if file in RUN_BY_ONE_WORKER else nodeid

    return Scheduler(config, log)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--topology", choices=("one", "three", "twelve"), help="run the market's tests as services of this topology"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Let the tests run as a server does. Many objects come to stay while they are collected, too."""
    collect_rarely()
    if topology := config.getoption("--topology"):
        choose(topology)


def pytest_collection_finish() -> None:
    collect_rarely()


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = _bounded(item.obj)


def _bounded(test: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(test)
    async def run(*arguments: Any, **named: Any) -> None:
        try:
            async with asyncio.timeout(TEST_SECONDS) as limit:
                await test(*arguments, **named)
        except TimeoutError:
            if limit.expired():
                pytest.fail(f"the test has not ended after {TEST_SECONDS} seconds")
            raise

    return run


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Say in one line what was skipped and why."""
    yield
    reasons = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", []))
    if reasons:
        terminalreporter.write_line(
            "skipped: " + "; ".join(f"{count} tests, {reason}" for reason, count in reasons.items()), yellow=True
        )


def _reason(report: pytest.TestReport) -> str:
    return report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else str(report.longrepr)
