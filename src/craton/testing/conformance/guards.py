"""What a unit relies on without changing it, and the snapshots that it brings along."""
# ruff: noqa: S101

import asyncio
from datetime import timedelta

from craton.ports import (
    Append,
    Changeset,
    ChangesetRefused,
    Snapshot,
    Store,
    StoredResult,
    VersionConflict,
)
from craton.testing.conformance.making import (
    NOON,
    append,
    appending,
    attempt,
    event,
    meanwhile,
    numbers,
    versions,
    write,
    write_each,
)


class Guards:
    """Streams that were read and not changed."""

    async def test_a_unit_is_written_while_what_it_has_read_is_as_it_was(self, store: Store) -> None:
        await write(store, appending("seen", 0, 2))

        assert await write(store, appending("a", guards=[("seen", 2), ("nobody", 0)])) > 0

    async def test_a_unit_is_refused_when_what_it_has_read_has_changed(self, store: Store) -> None:
        await write(store, appending("seen", 0, 2))

        refusal = await attempt(store, appending("a", guards=[("seen", 1)]))

        assert isinstance(refusal, VersionConflict)
        assert refusal.stream == "seen"
        assert await versions(store, "a") == []

    async def test_a_change_by_an_earlier_unit_of_the_batch_counts(self, store: Store) -> None:
        await write(store, appending("seen"))

        outcomes = await store.write(
            [appending("seen", 1), appending("b", guards=[("seen", 2)]), appending("a", guards=[("seen", 1)])]
        )

        assert numbers(outcomes) == [True, True, False]

    async def test_guards_alone_decide_about_a_unit_that_has_no_events(self, store: Store) -> None:
        await write(store, appending("seen"))

        refusal = await attempt(store, Changeset(guards=[("seen", 0)], result=StoredResult("s", "k1", "f", "{}", NOON)))
        written = await attempt(store, Changeset(guards=[("seen", 1)], result=StoredResult("s", "k2", "f", "{}", NOON)))

        assert isinstance(refusal, VersionConflict)
        assert written == 0
        assert await store.find_result("s", "k1") is None


class Snapshots:
    """States of aggregates, which only save reading."""

    async def test_a_stream_is_loaded_from_its_snapshot_and_the_events_after_it(self, store: Store) -> None:
        await write(store, appending("a", 0, 3, snapshots=[Snapshot("a", 3, "f", '{"n":3}')]))
        await write(store, appending("a", 3, 2))

        (state,) = await store.load([("a", "f")])

        assert state.snapshot == Snapshot("a", 3, "f", '{"n":3}')
        assert [event.version for event in state.events] == [4, 5]

    async def test_a_loaded_stream_says_when_its_newest_event_was_whatever_it_was_loaded_from(
        self, store: Store
    ) -> None:
        hours = [NOON + timedelta(hours=n) for n in range(3)]
        events = [event("a", n, time=time) for n, time in enumerate(hours, 1)]
        await write(store, Changeset(appends=[Append("a", 0, events[:2])], snapshots=[Snapshot("a", 2, "f", "{}")]))

        (snapshot,), (replayed,) = await store.load([("a", "f")]), await store.load([("a", "other shape")])
        await write(store, Changeset(appends=[Append("a", 2, events[2:])]))
        both, nobody = await store.load([("a", "f"), ("nobody", "f")])

        assert (len(snapshot.events), len(replayed.events), len(both.events)) == (0, 2, 1)
        assert [state.time for state in (snapshot, replayed, both, nobody)] == [hours[1], hours[1], hours[2], None]

    async def test_a_snapshot_with_another_fingerprint_is_ignored(self, store: Store) -> None:
        await write(store, appending("a", 0, 3, snapshots=[Snapshot("a", 3, "old shape", "{}")]))

        (state,) = await store.load([("a", "new shape")])

        assert state.snapshot is None
        assert [event.version for event in state.events] == [1, 2, 3]

    async def test_an_older_snapshot_never_replaces_a_newer_one(self, store: Store) -> None:
        await write(store, appending("a", 0, 5, snapshots=[Snapshot("a", 5, "f", "new")]))

        await write(store, Changeset(guards=[("a", 5)], snapshots=[Snapshot("a", 4, "f", "old")]))

        (state,) = await store.load([("a", "f")])
        assert state.snapshot == Snapshot("a", 5, "f", "new")

    async def test_the_newest_snapshot_of_a_batch_stays(self, store: Store) -> None:
        await store.write(
            [
                appending("a", 0, 2, snapshots=[Snapshot("a", 2, "f", "two")]),
                appending("a", 2, 2, snapshots=[Snapshot("a", 4, "f", "four")]),
                Changeset(guards=[("a", 4)], snapshots=[Snapshot("a", 3, "f", "three")]),
            ]
        )

        (state,) = await store.load([("a", "f")])
        assert state.snapshot == Snapshot("a", 4, "f", "four")

    async def test_a_newer_snapshot_of_another_shape_replaces_an_older_one(self, store: Store) -> None:
        await write(store, appending("a", 0, 2, snapshots=[Snapshot("a", 2, "old shape", "old")]))

        await write(store, appending("a", 2, 1, snapshots=[Snapshot("a", 3, "new shape", "new")]))

        old, new = await store.load([("a", "old shape"), ("a", "new shape")])
        assert (old.snapshot, len(old.events)) == (None, 3)
        assert (new.snapshot, len(new.events)) == (Snapshot("a", 3, "new shape", "new"), 0)

    async def test_a_unit_may_hold_nothing_but_a_snapshot(self, store: Store) -> None:
        await write(store, appending("a"))

        await write(store, Changeset(snapshots=[Snapshot("a", 1, "f", "state")]))

        (state,) = await store.load([("a", "f")])
        assert state.snapshot == Snapshot("a", 1, "f", "state")

    async def test_the_snapshot_of_a_refused_unit_is_not_kept(self, store: Store) -> None:
        refusal = await attempt(store, appending("a", 7, snapshots=[Snapshot("a", 8, "f", "never")]))

        assert isinstance(refusal, ChangesetRefused)
        (state,) = await store.load([("a", "f")])
        assert state.snapshot is None

    async def test_many_streams_are_loaded_together_each_in_its_place(self, store: Store) -> None:
        await store.write([appending(f"s{n}", 0, n) for n in range(1, 6)])

        states = await store.load([(f"s{n}", "f") for n in (3, 9, 1, 5)])

        assert [len(state.events) for state in states] == [3, 0, 1, 5]

    async def test_streams_that_are_loaded_together_are_of_one_moment(self, store: Store, second_store: Store) -> None:
        streams = [f"s{n}" for n in range(50)]
        units = [Changeset(appends=[append(stream, version) for stream in streams]) for version in range(30)]

        async with meanwhile(write_each(second_store, units)) as writing:
            while not writing.done():
                states = await store.load([(stream, "f") for stream in streams])
                assert len({len(state.events) for state in states}) == 1
                await asyncio.sleep(0)

    async def test_to_load_nothing_gives_nothing(self, store: Store) -> None:
        assert list(await store.load([])) == []
