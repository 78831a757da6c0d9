"""Folders with short paths, as sockets need them; the fair of one test; and the market with two replicas of each
service."""

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

from tests.crash.conftest import ROOT
from tests.crash.databases import fresh_database, turn
from tests.crash.market_shop import Market
from tests.services.fair import Fair

DOUBLED: Final = Path(__file__).with_name("doubled.toml")


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="craton-") as folder:
        yield Path(folder)


@pytest.fixture
async def fair(folder: Path) -> AsyncIterator[Fair]:
    async with AsyncExitStack() as stack:
        yield Fair(folder, stack)


@pytest.fixture
def doubled(postgres_url: str, folder: Path) -> Iterator[Callable[..., Market]]:
    """Makes the market with two replicas of each service, in a Postgres database of the test's own."""
    with turn(3), fresh_database(postgres_url) as url:
        settings = {"MARKET_STORE": url, "CRATON_GRPC_PORT": str(free_port())}
        yield partial(Market, data=folder, store=url, folder=ROOT, topology=DOUBLED, settings=settings)


def free_port() -> int:
    """A port at which nothing listens, because several processes have to be told the same one."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
