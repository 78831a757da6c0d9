"""Folders with short paths, as sockets need them, and the fair of one test."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.services.fair import Fair


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="craton-") as folder:
        yield Path(folder)


@pytest.fixture
async def fair(folder: Path) -> AsyncIterator[Fair]:
    async with AsyncExitStack() as stack:
        yield Fair(folder, stack)
