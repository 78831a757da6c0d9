"""Markets in processes of their own, on SQLite and on Postgres databases of their own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from craton.testing.crash import Process
from tests.crash.databases import fresh_database, turn

ROOT: Final = Path(__file__).parents[2]
LEDGER: Final = "tests.market.ledger_app:app"
Start = Callable[..., Process]


@pytest.fixture
def database(postgres_url: str) -> Iterator[str]:
    """The URL of an empty Postgres database."""
    with turn(), fresh_database(postgres_url) as url:
        yield url


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts markets, by default on SQLite in the test's folder; all that still run at the end are killed."""
    with ExitStack() as stack:

        def begin(**options: Any) -> Process:
            return stack.enter_context(Process(**{"data": tmp_path, "folder": ROOT, "app": LEDGER, **options}))

        yield begin


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> str:
    """The store's URL, each kind in turn."""
    url: str = "sqlite" if request.param == "sqlite" else request.getfixturevalue("database")
    return url
