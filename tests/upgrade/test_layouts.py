"""A store of an older layout is upgraded in place when it is opened; one of a newer layout is refused."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from craton.adapters.layouts import LAYOUT
from craton.ports import (
    Changeset,
    NewEvent,
    ParkedEvent,
    Statement,
    Store,
    StoredResult,
    StoreUnavailable,
    StoreUnsuitable,
    Timer,
)
from craton.testing.conformance.making import NOON, appending, whole_feed, write
from tests.conftest import Place
from tests.upgrade.layout_1 import make_old_store, run

EVENT = NewEvent("a", 1, "id-1", "Happened", 1, '{"b": 1}', '{"actor":"ann"}', NOON)
INSERT_EVENT = (
    "INSERT INTO events (stream, version, id, type, schema_version, data, metadata, time)"
    """ VALUES ('a', 1, 'id-1', 'Happened', 1, '{"b": 1}', '{"actor":"ann"}', '2026-05-17T12:00:00.123456+00:00')"""
)
TIME = "'2026-05-17T12:00:00.123456+00:00'"

OpenStores = Callable[[Store], Any]


class TestAStoreOfLayout1:
    async def test_keeps_how_far_its_readers_have_got(self, place: Place, open_stores: OpenStores) -> None:
        await make_old_store(place, "INSERT INTO checkpoints VALUES ('reader', 7)")

        store = await open_stores(place())

        assert await store.checkpoint("reader") == 7

    async def test_keeps_what_is_parked_and_the_events_with_it(self, place: Place, open_stores: OpenStores) -> None:
        await make_old_store(
            place,
            INSERT_EVENT,
            f"INSERT INTO parked VALUES ('reader', 1, 'a', 'ValueError: no', 2, {TIME}, 'retry')",
        )

        store = await open_stores(place())

        assert list(await store.parked()) == [ParkedEvent("reader", 1, "a", "ValueError: no", 2, NOON, "retry")]
        assert list(await store.parked_events("reader", "a", 10)) == [EVENT.at(1, last=True)]

    async def test_remembers_what_was_dropped(self, place: Place, open_stores: OpenStores) -> None:
        await make_old_store(
            place, INSERT_EVENT, f"INSERT INTO parked VALUES ('reader', 1, 'a', 'ValueError: no', 2, {TIME}, 'dropped')"
        )

        store = await open_stores(place())

        assert list(await store.dropped("reader")) == [1]

    async def test_keeps_the_answers_under_keys_from_now_on(self, place: Place, open_stores: OpenStores) -> None:
        await make_old_store(place, "INSERT INTO results VALUES ('ann', 'k', 'f', '{}', 3)")

        store = await open_stores(place())

        found = await store.find_result("ann", "k")
        assert found == StoredResult("ann", "k", "f", "{}", found.time, 3)
        assert await store.forget_results(found.time, ("", ""), 10, "§") is None
        assert await store.find_result("ann", "k") is not None

    async def test_is_written_like_any_other(self, place: Place, open_stores: OpenStores) -> None:
        await make_old_store(place, INSERT_EVENT)

        store = await open_stores(place())
        await write(store, appending("b", 0, 2, result=StoredResult("ann", "k", "f", "{}", NOON)))

        assert [event.stream for event in await whole_feed(store)] == ["a", "b", "b"]

    async def test_is_upgraded_once(self, place: Place, open_stores: OpenStores) -> None:
        await make_old_store(place, "INSERT INTO checkpoints VALUES ('reader', 7)")

        for store in [await open_stores(place()), await open_stores(place())]:
            assert await store.checkpoint("reader") == 7

    async def test_is_not_upgraded_by_a_program_that_only_looks(self, place: Place, open_stores: OpenStores) -> None:
        await make_old_store(place, "INSERT INTO checkpoints VALUES ('reader', 7)")

        with pytest.raises(
            StoreUnsuitable, match=r"older version of Craton: its tables have layout 1\. Use the `craton` of"
        ):
            await place().open(upgrade=False)

        await run(place, "UPDATE checkpoints SET position = 8")  # the older program goes on
        assert await (await open_stores(place())).checkpoint("reader") == 8

    async def test_is_no_place_for_leases_of_a_process_that_still_runs(
        self, place: Place, open_stores: OpenStores
    ) -> None:
        await make_old_store(place)

        await open_stores(place())

        with pytest.raises(Exception, match="leases"):
            await run(place, "UPDATE leases SET owner = 'an older program'")

    async def test_is_not_upgraded_by_half(self, place: Place) -> None:
        await make_old_store(place, "CREATE TABLE parked_events (x int)")

        with pytest.raises(StoreUnavailable, match="parked_events"):
            await place().open()
        await run(place, "DROP TABLE parked_events", "INSERT INTO checkpoints VALUES ('reader', 7)")

        store = place()
        await store.open()
        try:
            assert await store.checkpoint("reader") == 7
        finally:
            await store.close()


class TestAStoreOfBeforeThat:
    async def test_keeps_its_timers(self, place: Place, open_stores: OpenStores) -> None:
        columns = "id text PRIMARY KEY, due timestamptz NOT NULL, operation text, arguments text, metadata text"
        await make_old_store(
            place,
            "DROP TABLE timers",
            f"CREATE TABLE timers ({columns})",
            f"INSERT INTO timers VALUES ('t', {TIME}, 'remind', '{{}}', '{{}}')",
        )

        store = await open_stores(place())

        timer = Timer("t", NOON, "remind", "{}", "{}")
        assert list(await store.due_timers(NOON, 10)) == [timer]
        parked = replace(timer, attempts=1, parked=True)
        await write(store, Changeset(timers_done=["t"], timers=[parked]))
        assert list(await store.parked_timers()) == [parked]

    async def test_that_did_not_mark_units_is_read_and_written(self, place: Place, open_stores: OpenStores) -> None:
        await make_old_store(place, "ALTER TABLE events DROP COLUMN last", INSERT_EVENT)

        store = await open_stores(place())
        await write(store, appending("b", 0, 2))

        assert [event.last for event in await whole_feed(store)] == [True, False, True]

    async def test_whose_ids_are_not_unique_is_refused(self, place: Place) -> None:
        await make_old_store(place, "DROP INDEX events_id", INSERT_EVENT, INSERT_EVENT.replace("'a', 1", "'a', 2"))

        with pytest.raises(StoreUnavailable, match="one id"):
            await place().open()


async def test_a_store_of_a_newer_layout_is_refused(place: Place, open_stores: OpenStores) -> None:
    store = await open_stores(place())
    await write(store, Changeset(statements=[Statement(f"UPDATE layout SET version = {LAYOUT + 1}", {})]))

    with pytest.raises(
        StoreUnsuitable, match=rf"belongs to a newer version of Craton: its tables have layout {LAYOUT + 1}"
    ):
        await place().open()


async def test_a_new_store_has_the_newest_layout(place: Place, open_stores: OpenStores) -> None:
    store = await open_stores(place())

    assert msgspec.json.encode(await store.fetch(Statement("SELECT version FROM layout", {}))) == (
        f'[{{"version":{LAYOUT}}}]'.encode()
    )
