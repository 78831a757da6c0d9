"""The conformance suites of a module's own tables, over each store that can hold them."""

from pathlib import Path
from typing import Final

import pytest

from craton.adapters.mariadb import MariaDbTables
from craton.adapters.sqlite import SqliteStore
from craton.ports import Isolation, Statement, StatementFailed, Store
from craton.testing import conformance
from craton.testing.conformance.making import attempt, write
from craton.testing.conformance.own_tables import grow, size_of, statement, unit, with_notes
from tests.conftest import Place


class MariaDbPlace:
    name = "mariadb"

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url

    def __call__(self, module: str = "bank") -> Store:
        store: Store = MariaDbTables(SqliteStore(self.folder / f"{module}.db", durable=False), self.url)
        return store


@pytest.fixture
def mariadb_place(tmp_path: Path, mariadb_url: str) -> MariaDbPlace:
    return MariaDbPlace(tmp_path, mariadb_url)


LEVELS: Final[tuple[Isolation, ...]] = ("repeatable read", "read committed", "repeatable read")


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found


class TestOwnStatements(conformance.OwnStatements):
    pass


class TestOwnValues(conformance.OwnValues):
    pass


class TestOwnAnswers(conformance.OwnAnswers):
    pass


class TestOwnTransactions(conformance.OwnTransactions):
    pass


class TestOwnCrowds(conformance.OwnCrowds):
    pass


def test_every_suite_is_run_here() -> None:
    run = {base for test in globals().values() if isinstance(test, type) for base in test.__bases__}

    assert run >= set(conformance.OWN_TABLES)


@pytest.mark.parametrize("place", ["postgres", "mariadb"], indirect=True)
async def test_the_level_of_one_transaction_is_not_that_of_the_next(store: Store, second_store: Store) -> None:
    await with_notes(store, "one")

    sizes = []
    for isolation in LEVELS:
        async with store.transaction(isolation) as transaction:
            before = await size_of(transaction, "one")
            await grow(second_store, "one")
            sizes.append(await size_of(transaction, "one") - before)

    assert sizes == [0, 1, 0]


@pytest.mark.parametrize("place", ["postgres", "mariadb"], indirect=True)
class TestColumnsWithTypes:
    """A database that knows the types of its columns cuts nothing off and makes nothing up; SQLite doesn't."""

    @pytest.mark.parametrize(
        "wrong",
        [
            statement("INSERT INTO typed (text) VALUES (:text)", text="four"),
            statement("INSERT INTO typed (number) VALUES (:number)", number=2**31),
            statement("INSERT INTO typed (number) VALUES (:number)", number="one"),
            statement("INSERT INTO typed (number) VALUES ('1 apple')"),
            statement("INSERT INTO typed (small) VALUES (40000)"),
            statement("INSERT INTO typed (day) VALUES ('2026-02-30')"),
            statement("INSERT INTO typed (day) VALUES ('0000-00-00')"),
            statement("INSERT INTO typed (number) VALUES (1 / 0)"),
        ],
        ids=lambda wrong: wrong.sql.partition("typed ")[2],
    )
    async def test_a_value_that_does_not_fit_is_refused(self, store: Store, wrong: Statement) -> None:
        make = "CREATE TABLE typed (text VARCHAR(3), number INTEGER, small SMALLINT, day DATE)"
        await write(store, unit(statement(make)))

        refusal = await attempt(store, unit(wrong))

        assert isinstance(refusal, StatementFailed)
        assert list(await store.fetch(statement("SELECT * FROM typed"))) == []
