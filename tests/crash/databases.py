"""Postgres databases of a test's own: what is done to one harms nobody else's."""

import asyncio
import fcntl
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir
from typing import IO, Any, Final
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

TURNS: Final = 3
"""How many tests use the server at once. Each runs up to two processes of 22 connections; the server has a hundred."""

TABLESPACE: Final = os.environ.get("CRATON_TEST_TABLESPACE", "")
"""Where the databases are. Tests make tables by the thousand, which costs half as much in memory."""


@contextmanager
def turn(count: int = 1) -> Iterator[None]:
    """Wait until fewer databases are used by processes than may be, by all workers together. `count`: a test that runs
    more processes takes the place of so many."""
    places = [(Path(gettempdir()) / f"craton-turn-{os.getuid()}-{number}").open("w") for number in range(TURNS)]
    try:
        while len(taken := [place for place in places if _taken(place.fileno())]) < count:
            _leave(taken)
            time.sleep(0.05)
        _leave(taken[count:])
        yield
    finally:
        for place in places:
            place.close()


def _taken(place: int) -> bool:
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _leave(places: Iterable[IO[str]]) -> None:
    for place in places:
        fcntl.flock(place, fcntl.LOCK_UN)


@contextmanager
def fresh_database(server: str, options: str = "") -> Iterator[str]:
    """Make an empty database beside the one that the URL names; drop it at the end, whoever is connected."""
    name = f"craton_{uuid4().hex[:16]}"
    place = f"TABLESPACE {TABLESPACE}" if TABLESPACE else ""
    run_sql(server, f"CREATE DATABASE {name} {options} {place}")
    try:
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    finally:
        run_sql(server, f"DROP DATABASE {name} WITH (FORCE)")


def run_sql(url: str, statement: str, *values: Any) -> list[Any]:
    """Run one statement on a connection of its own, and wait for it."""
    rows: list[Any] = _on_a_connection(url, lambda connection: connection.fetch(statement, *values))
    return rows


def run_script(url: str, script: str) -> None:
    """Run all statements of a text on a connection of its own, and wait for them."""
    _on_a_connection(url, lambda connection: connection.execute(script))


def _on_a_connection(url: str, work: Callable[[Any], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        connection = await asyncpg.connect(url, timeout=10)
        try:
            return await work(connection)
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as thread:  # the caller may be running in an event loop
        return thread.submit(asyncio.run, run()).result()
