"""Events, snapshots and guards: what a unit writes, and why it is refused."""
# ruff: noqa: S101

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone

from craton.ports import (
    Append,
    Changeset,
    Document,
    KeyTaken,
    NewEvent,
    Query,
    RowOperation,
    Statement,
    Store,
    StoredEvent,
    StoredResult,
    VersionConflict,
)
from craton.testing.conformance.making import (
    NOON,
    PEOPLE,
    append,
    appending,
    attempt,
    event,
    numbers,
    person,
    versions,
    whole_feed,
    with_tables,
    write,
)


class Appending:
    """Events go to the end of their stream, or nowhere."""

    async def test_a_new_stream_begins_at_version_one(self, store: Store) -> None:
        position = await write(store, appending("a", 0, 2))

        assert await versions(store, "a") == [1, 2]
        assert [event.position for event in await store.read_stream("a", limit=9)][-1] == position

    async def test_what_is_read_is_what_was_written_to_the_letter(self, store: Store) -> None:
        given = NewEvent("akte-1", 1, "id-1", "Geöffnet", 3, '{"b" : 1,\n"a":"ß\\u0000☃ \\"\'"}', '{"actor":"Ω"}', NOON)

        position = await write(store, Changeset(appends=[Append("akte-1", 0, [given])]))

        (read,) = await store.read_stream("akte-1", limit=1)
        fields = ("stream", "version", "id", "type", "schema_version", "data", "metadata", "time")
        assert [getattr(read, name) for name in fields] == [getattr(given, name) for name in fields]
        assert read.position == position

    async def test_a_time_of_another_zone_is_the_same_instant_when_read(self, store: Store) -> None:
        there = datetime(2026, 1, 1, 1, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))

        await write(store, Changeset(appends=[Append("a", 0, [event("a", 1, time=there)])]))

        (read,) = await store.read_stream("a", limit=1)
        assert read.time == there
        assert read.time.utcoffset() == timedelta(0)
        assert read.time.astimezone(UTC).year == 2025

    async def test_a_stream_that_is_there_already_is_not_begun_again(self, store: Store) -> None:
        await write(store, appending("a"))

        refusal = await attempt(store, appending("a", 0))

        assert isinstance(refusal, VersionConflict)
        assert refusal.stream == "a"
        assert await versions(store, "a") == [1]

    async def test_neither_an_older_nor_a_later_version_is_accepted(self, store: Store) -> None:
        await write(store, appending("a", 0, 3))

        assert isinstance(await attempt(store, appending("a", 2)), VersionConflict)
        assert isinstance(await attempt(store, appending("a", 4)), VersionConflict)
        assert await versions(store, "a") == [1, 2, 3]

    async def test_a_unit_over_several_streams_is_written_whole_or_not_at_all(self, store: Store) -> None:
        await write(store, appending("b"))

        refusal = await attempt(store, Changeset(appends=[append("a"), append("b", 0), append("c")]))

        assert isinstance(refusal, VersionConflict)
        assert [await versions(store, name) for name in "abc"] == [[], [1], []]

    async def test_the_position_of_a_unit_is_that_of_its_last_event(self, store: Store) -> None:
        position = await write(store, Changeset(appends=[append("a", 0, 2), append("b", 0, 2)]))

        (last,) = await store.read_stream("b", limit=1, descending=True)
        assert position == last.position == await store.head()

    async def test_a_unit_without_events_has_position_zero(self, store: Store) -> None:
        assert await write(store, Changeset()) == 0
        assert await write(store, Changeset(checkpoint=("reader", 4))) == 0

    async def test_an_append_of_no_events_changes_nothing_and_harms_nobody(self, store: Store) -> None:
        nothing = Changeset(appends=[Append("a", 0, [])])

        outcomes = await store.write([nothing, appending("b"), nothing])

        assert (outcomes[0], outcomes[2]) == (0, 0)
        assert (await versions(store, "a"), await versions(store, "b")) == ([], [1])

    async def test_a_stream_is_read_in_parts_forwards_and_backwards(self, store: Store) -> None:
        await write(store, appending("a", 0, 5))
        await write(store, appending("other", 0, 2))

        async def read(after: int, limit: int, *, descending: bool = False) -> list[int]:
            events = await store.read_stream("a", after=after, limit=limit, descending=descending)
            return [event.version for event in events]

        assert await read(0, 2) == [1, 2]
        assert await read(2, 9) == [3, 4, 5]
        assert await read(5, 9) == []
        assert await read(0, 2, descending=True) == [5, 4]
        assert await read(4, 2, descending=True) == [3, 2]
        assert await read(1, 2, descending=True) == []

    async def test_a_stream_that_nobody_began_is_empty(self, store: Store) -> None:
        assert await versions(store, "nobody") == []
        (state,) = await store.load([("nobody", "f")])
        assert (state.snapshot, list(state.events), state.time) == (None, [], None)

    async def test_names_that_differ_only_in_case_are_different_streams(self, store: Store) -> None:
        await write(store, appending("Straße", 0, 2))
        await write(store, appending("straße", 0, 1))

        assert await versions(store, "Straße") == [1, 2]
        assert await versions(store, "straße") == [1]


class Batches:
    """Units that are written together do each other no harm."""

    async def test_only_the_unit_whose_key_was_used_is_refused_for_it_whatever_the_others_hold(
        self, store: Store
    ) -> None:
        used, fresh = (StoredResult("ann/pay", key, "request", "null", NOON) for key in ("used", "fresh"))
        await write(store, Changeset(result=used))

        outcomes = await store.write(
            [
                appending("a", result=fresh, documents=[Document("doc", 1, "{}")]),
                appending("b", result=used),
                appending("c"),
            ]
        )

        assert numbers(outcomes) == [True, False, True]
        assert isinstance(outcomes[1], KeyTaken)

    async def test_a_unit_before_the_one_whose_key_was_used_is_written(self, store: Store) -> None:
        used = StoredResult("ann/pay", "used", "request", "null", NOON)
        await write(store, Changeset(result=used))

        outcomes = await store.write([appending("a"), appending("a", 1, result=used), appending("a", 2)])

        assert numbers(outcomes) == [True, False, False]

    async def test_a_batch_of_nothing_is_nothing(self, store: Store) -> None:
        assert list(await store.write([])) == []

    async def test_a_unit_with_a_stale_version_is_refused_and_its_neighbours_are_written(self, store: Store) -> None:
        await write(store, appending("b"))

        outcomes = await store.write([appending("a"), appending("b", 0), appending("c")])

        assert numbers(outcomes) == [True, False, True]
        assert isinstance(outcomes[1], VersionConflict)
        assert [await versions(store, name) for name in "abc"] == [[1], [1], [1]]

    async def test_units_on_the_same_stream_build_on_each_other(self, store: Store) -> None:
        outcomes = await store.write([appending("a", 0, 2), appending("a", 2), appending("a", 3, 2)])

        assert numbers(outcomes) == [True, True, True]
        assert await versions(store, "a") == [1, 2, 3, 4, 5]
        assert [event.version for event in await whole_feed(store)] == [1, 2, 3, 4, 5]

    async def test_those_that_build_on_a_refused_unit_are_refused_too(self, store: Store) -> None:
        await write(store, appending("b"))

        outcomes = await store.write(
            [Changeset(appends=[append("a"), append("b", 0)]), appending("a", 1), appending("c"), appending("a", 2)]
        )

        assert numbers(outcomes) == [False, False, True, False]
        assert [await versions(store, name) for name in "abc"] == [[], [1], [1]]

    async def test_those_that_build_on_a_unit_refused_for_its_rows_are_refused_too(self, store: Store) -> None:
        await with_tables(store, PEOPLE)
        await write(store, Changeset(rows=[person("ann", email="taken@example.org")]))

        outcomes = await store.write(
            [
                appending("a", 0, rows=[person("bob", email="taken@example.org")]),
                appending("a", 1, rows=[person("cid")]),
                appending("b", 0, rows=[person("dan")]),
            ]
        )

        assert numbers(outcomes) == [False, False, True]
        assert isinstance(outcomes[1], VersionConflict)
        assert list(await store.get_rows(PEOPLE, [("bob",), ("cid",), ("dan",)])) == [None, None, '"dan"']

    async def test_what_follows_a_refused_unit_is_refused_even_if_anothers_event_has_brought_its_version(
        self, store: Store, second_store: Store
    ) -> None:
        await write(store, appending("a", 0, 2))
        await write(second_store, appending("a", 2))

        outcomes = await store.write(
            [appending("a", 2), appending("a", 3), Changeset(guards=[("a", 3)], appends=[append("b")])]
        )

        assert numbers(outcomes) == [False, False, False]
        assert (await versions(store, "a"), await versions(store, "b")) == ([1, 2, 3], [])

    async def test_what_can_not_be_stored_is_refused_and_its_neighbours_are_written(self, store: Store) -> None:
        await with_tables(store, PEOPLE)

        outcomes = await store.write(
            [appending("a"), appending("b", rows=[person("ann", age=2**63)]), appending("c", rows=[person("bob")])]
        )

        assert numbers(outcomes) == [True, False, True]
        assert [await versions(store, name) for name in "abc"] == [[1], [], [1]]

    async def test_each_unit_of_a_batch_is_told_its_own_position(self, store: Store) -> None:
        units = [appending("a", 0, 2), Changeset(), appending("b", 0, 1), appending("a", 2, 3)]

        outcomes = await store.write(units)

        by_position = {event.position: (event.stream, event.version) for event in await whole_feed(store)}
        assert [by_position.get(outcome) for outcome in outcomes if isinstance(outcome, int)] == [
            ("a", 2),
            None,
            ("b", 1),
            ("a", 5),
        ]

    async def test_a_unit_of_each_kind_finds_what_those_before_it_have_changed(self, store: Store) -> None:
        outcomes = await store.write(
            [Changeset(checkpoint=("reader", 10)), Changeset(checkpoint_at_most=("reader", 5), checkpoint=("other", 1))]
        )

        assert numbers(outcomes) == [True, False]
        assert await store.checkpoint("other") == 0

    async def test_what_relies_on_a_document_that_a_unit_before_it_has_replaced_is_refused(self, store: Store) -> None:
        await write(store, Changeset(documents=[Document("plan", 1, "{}")]))

        outcomes = await store.write(
            [
                appending("a", relies_on=[("plan", 1)]),
                Changeset(documents=[Document("plan", 2, "{}")]),
                appending("b", relies_on=[("plan", 1)]),
                appending("c", relies_on=[("plan", 2)]),
            ]
        )

        assert numbers(outcomes) == [True, True, False, True]
        assert [await versions(store, name) for name in "abc"] == [[1], [], [1]]

    async def test_a_statement_comes_after_the_rows_before_it_and_before_those_behind_it(self, store: Store) -> None:
        await with_tables(store, PEOPLE)
        delete = Statement("DELETE FROM view_people_1", {})

        outcomes = await store.write(
            [Changeset(rows=[person("ann")]), Changeset(statements=[delete]), appending("a", rows=[person("bob")])]
        )

        assert all(numbers(outcomes))
        assert list(await store.get_rows(PEOPLE, [("ann",), ("bob",)])) == [None, '"bob"']

    async def test_each_unit_projects_its_own_events_at_their_positions(self, store: Store) -> None:
        await with_tables(store, PEOPLE)

        def projecting(stream: str, count: int) -> Changeset:
            def project(stored: Sequence[StoredEvent]) -> list[RowOperation]:
                assert {event.stream for event in stored} == {stream}
                return [person(f"{stream}{event.version}", age=event.position) for event in stored]

            return appending(stream, count=count, project=project)

        outcomes = await store.write([projecting("a", 2), Changeset(rows=[person("bob")]), projecting("b", 1)])

        assert all(numbers(outcomes))
        for stored in await whole_feed(store):
            own = Query(where={"id": f"{stored.stream}{stored.version}", "age": stored.position})
            assert (await store.find_rows(PEOPLE, own))[1] == 1

    async def test_a_hundred_units_of_every_kind_are_written_together(self, store: Store) -> None:
        await with_tables(store, PEOPLE)
        units = [
            appending(
                f"s{n}",
                result=StoredResult("scope", f"key-{n}", "f", "{}", NOON),
                rows=[person(f"p{n}")],
                checkpoint=(f"reader-{n}", n),
                statements=[Statement("DELETE FROM view_people_1 WHERE id = :id", {"id": f"p{n}"})] if n % 2 else [],
            )
            for n in range(100)
        ]

        outcomes = await store.write(units)

        assert all(numbers(outcomes))
        assert len(await whole_feed(store)) == 100
        assert [row is None for row in await store.get_rows(PEOPLE, [(f"p{n}",) for n in range(4)])] == [
            False,
            True,
            False,
            True,
        ]
