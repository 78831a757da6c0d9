"""The conformance suites over both stores (the `store` fixtures are in `tests/conftest.py`)."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from craton.adapters.sqlite import SqliteStore
from craton.ports import LONGEST_LEASE_SECONDS, Changeset, Statement, Store, StoreUnsuitable
from craton.testing import conformance
from craton.testing.conformance.making import write
from tests.conftest import Place, SqlitePlace

OpenStore = Callable[[Store], Awaitable[Store]]


async def test_a_store_exists_once_it_was_opened(place: Place) -> None:
    before, after = place("new"), place("new")
    assert not await before.exists()

    await before.open()
    await before.close()

    assert await after.exists()
    assert not await place("other").exists()


async def test_a_file_can_be_read_only_by_its_owner(sqlite_place: SqlitePlace) -> None:
    store = sqlite_place("new")
    await store.open()

    try:
        files = list(sqlite_place.folder.iterdir())
        assert {file.name for file in files} == {"new.db", "new.db-wal", "new.db-shm"}
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    finally:
        await store.close()


class TestAnUnsuitablePlace:
    async def test_a_library_that_is_too_old_is_refused(
        self, sqlite_place: SqlitePlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("craton.adapters.sqlite.connection.OLDEST_VERSION", (99, 0, 0))

        with pytest.raises(StoreUnsuitable, match=r"too old.*99\.0\.0 or newer"):
            await sqlite_place().open()

    async def test_a_file_without_a_write_ahead_log_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)

        with pytest.raises(StoreUnsuitable, match=r"write-ahead log.*memory.*local disk"):
            await SqliteStore(Path(":memory:")).open()


async def test_an_expiry_further_away_than_any_lease_lasts_is_none(place: Place, store: Store) -> None:
    await store.acquire("lease", "ann", LONGEST_LEASE_SECONDS)
    later = "3600" if place.name == "sqlite" else "interval '1 hour'"

    await write(store, Changeset(statements=[Statement(f"UPDATE lease_owners SET expires = expires + {later}", {})]))

    assert await store.acquire("lease", "bob", LONGEST_LEASE_SECONDS) is not None
    assert await store.acquire("lease", "ann", LONGEST_LEASE_SECONDS) is None


async def test_a_lease_in_a_file_does_not_look_at_the_wall_clock(
    sqlite_place: SqlitePlace, open_stores: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_stores(sqlite_place())
    now = time.time()

    monkeypatch.setattr(time, "time", lambda: now + 30)
    await store.acquire("lease", "ann", 0.0)
    monkeypatch.setattr(time, "time", lambda: now)

    assert await store.acquire("lease", "bob", LONGEST_LEASE_SECONDS) is not None
    monkeypatch.setattr(time, "time", lambda: now + 3_600)
    assert await store.acquire("lease", "ann", LONGEST_LEASE_SECONDS) is None


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


class TestSearching(conformance.Searching):
    pass


class TestLookingAtTimersAndLeases(conformance.LookingAtTimersAndLeases):
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


class TestMalformedUnits(conformance.MalformedUnits):
    pass


class TestEventIds(conformance.EventIds):
    pass


class TestUnfitValues(conformance.UnfitValues):
    pass


class TestUnfitReads(conformance.UnfitReads):
    pass


class TestFeed(conformance.Feed):
    pass


class TestManyWriters(conformance.ManyWriters):
    pass


class TestMakingTables(conformance.MakingTables):
    pass


class TestLiveInlineProjections(conformance.LiveInlineProjections):
    pass


def test_every_suite_is_run_here() -> None:
    run = {base for test in globals().values() if isinstance(test, type) for base in test.__bases__}

    assert run >= set(conformance.SUITES)
