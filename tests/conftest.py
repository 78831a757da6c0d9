"""Fixtures that all tests share: the stores, each in a place of its own, and a limit for what never ends."""

import asyncio
import functools
import inspect
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

pytest.register_assert_rewrite("craton.testing.conformance")

from craton.adapters.postgres import PostgresDatabase, PostgresStore  # noqa: E402
from craton.adapters.sqlite import SqliteStore  # noqa: E402
from craton.ports import Store  # noqa: E402

POSTGRES_URL = os.environ.get("CRATON_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/test")
SERVICES_REQUIRED = os.environ.get("CRATON_REQUIRE_SERVICES") == "1"
TEST_SECONDS = 30
"""A test that waits this long waits for something that never comes."""


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


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """The URL of a Postgres that answers; without one the test is skipped, or fails if services are required."""
    problem = asyncio.run(_problem_of(POSTGRES_URL))
    if problem:
        if SERVICES_REQUIRED:
            pytest.fail(problem, pytrace=False)
        pytest.skip(problem)
    return POSTGRES_URL


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
