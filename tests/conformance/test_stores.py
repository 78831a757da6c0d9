"""The conformance suites over both stores (the `store` fixtures are in `tests/conftest.py`)."""

from craton.ports import Statement, Unit
from craton.testing import conformance
from craton.testing.conformance.making import appending, whole_feed, write
from tests.conftest import Place, SqlitePlace


async def test_a_store_exists_once_it_was_opened(place: Place) -> None:
    before, after = place("new"), place("new")
    assert not await before.exists()

    await before.open()
    await before.close()

    assert await after.exists()
    assert not await place("other").exists()


async def test_a_store_of_a_version_that_did_not_mark_units_is_read_and_written(place: Place) -> None:
    before, after = place("old"), place("old")
    await before.open()
    await write(before, appending("a", 0, 2))
    await write(before, Unit(statements=[Statement("ALTER TABLE events DROP COLUMN last", {})]))
    await before.close()

    await after.open()
    try:
        await write(after, appending("b", 0, 2))

        assert [event.last for event in await whole_feed(after)] == [True, True, False, True]
    finally:
        await after.close()


async def test_a_file_is_nobody_elses_to_read(sqlite_place: SqlitePlace) -> None:
    store = sqlite_place("new")
    await store.open()

    try:
        files = list(sqlite_place.folder.iterdir())
        assert {file.name for file in files} == {"new.db", "new.db-wal", "new.db-shm"}
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    finally:
        await store.close()


class TestAppending(conformance.Appending):
    pass


class TestBatches(conformance.Batches):
    pass


class TestGuards(conformance.Guards):
    pass


class TestSnapshots(conformance.Snapshots):
    pass


class TestIdempotencyResults(conformance.IdempotencyResults):
    pass


class TestCheckpoints(conformance.Checkpoints):
    pass


class TestDocuments(conformance.Documents):
    pass


class TestTimers(conformance.Timers):
    pass


class TestParkedEvents(conformance.ParkedEvents):
    pass


class TestRowWriting(conformance.RowWriting):
    pass


class TestUniqueColumns(conformance.UniqueColumns):
    pass


class TestFinding(conformance.Finding):
    pass


class TestSumming(conformance.Summing):
    pass


class TestInlineProjecting(conformance.InlineProjecting):
    pass


class TestLeaseHolding(conformance.LeaseHolding):
    pass


class TestFencing(conformance.Fencing):
    pass


class TestStatements(conformance.Statements):
    pass


class TestInteractiveTransactions(conformance.InteractiveTransactions):
    pass


class TestFeed(conformance.Feed):
    pass


class TestManyWriters(conformance.ManyWriters):
    pass


def test_every_suite_is_run_here() -> None:
    run = {base for test in globals().values() if isinstance(test, type) for base in test.__bases__}

    assert run >= set(conformance.SUITES)
