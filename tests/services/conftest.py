"""The fair of one test, in a folder with a short path, as sockets need it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.services.fair import Fair


@pytest.fixture
async def fair() -> AsyncIterator[Fair]:
    with TemporaryDirectory(prefix="fair-") as folder:
        async with AsyncExitStack() as stack:
            yield Fair(Path(folder), stack)
