"""Rows that are written in the commit of the events, and the set of read models that are."""
# ruff: noqa: S101

import asyncio
from collections.abc import Sequence
from typing import get_args

import pytest

from craton.ports import (
    INLINE,
    Changeset,
    ChangesetRefused,
    Document,
    DocumentChanged,
    Isolation,
    NotUnique,
    Query,
    RowOperation,
    Statement,
    Store,
    StoredEvent,
    WriteOutcome,
)
from craton.testing.conformance.making import (
    SEATS,
    append,
    appending,
    attempt,
    numbers,
    person,
    seat,
    versions,
    with_tables,
    write,
    write_rows,
)


class LiveInlineProjections:
    """What events are appended for: the set of live inline projections, by the revision of its document."""

    async def _replace(self, store: Store, revision: int) -> WriteOutcome:
        return await attempt(store, Changeset(documents=[Document(INLINE, revision, "{}")]))

    async def test_events_that_were_made_for_it_are_appended(self, store: Store) -> None:
        await write(store, appending("a", inline=0))
        await self._replace(store, 1)

        await write(store, appending("a", 1, inline=1))

        assert await versions(store, "a") == [1, 2]

    async def test_events_that_were_made_for_another_are_refused(self, store: Store, second_store: Store) -> None:
        await self._replace(store, 1)
        await self._replace(store, 2)

        for revision in (0, 1, 3):
            assert isinstance(await attempt(second_store, appending("a", inline=revision)), DocumentChanged)
        assert await versions(store, "a") == []

    async def test_events_that_say_nothing_of_it_are_appended(self, store: Store) -> None:
        await self._replace(store, 1)

        await write(store, appending("a"))

    async def test_its_neighbours_are_unharmed_and_what_was_to_follow_is_refused(self, store: Store) -> None:
        await self._replace(store, 1)

        outcomes = await store.write(
            [
                appending("a", inline=1),
                appending("b", inline=0),
                appending("b", 1, inline=1),
                appending("c", inline=1, rows=[]),
                appending("d"),
            ]
        )

        assert numbers(outcomes) == [True, False, False, True, True]
        assert isinstance(outcomes[1], DocumentChanged)
        assert [await versions(store, name) for name in "abcd"] == [[1], [], [1], [1]]

    @pytest.mark.parametrize("isolation", get_args(Isolation))
    async def test_transactions_are_refused_too(self, store: Store, second_store: Store, isolation: Isolation) -> None:
        await self._replace(second_store, 1)

        with pytest.raises(DocumentChanged):
            async with store.transaction(isolation) as transaction:
                await transaction.fetch(Statement("SELECT 1 AS one", {}))
                await transaction.write(appending("a", inline=0))

        assert await versions(store, "a") == []

    async def test_nothing_slips_past_its_replacement(self, store: Store, second_store: Store) -> None:
        """Either an event was there when the set was replaced, or it was refused."""
        written: list[int] = []

        async def keep_appending() -> None:
            for version in range(200):
                outcome = await attempt(store, appending("a", version, inline=0))
                if not isinstance(outcome, int):
                    assert isinstance(outcome, DocumentChanged)
                    return
                written.append(outcome)

        appending_ = asyncio.create_task(keep_appending())
        while len(written) < 5:
            await asyncio.sleep(0)
        while not isinstance(await self._replace(second_store, 1), int):
            pass
        seen = await second_store.head()
        await appending_

        assert await store.head() == seen == written[-1]


class InlineProjecting:
    """Rows that are derived from events in the commit of the events."""

    async def test_a_projection_sees_the_events_with_the_positions_that_they_get(self, store: Store) -> None:
        seen: list[StoredEvent] = []

        def project(events: Sequence[StoredEvent]) -> Sequence[RowOperation]:
            seen[:] = events
            return []

        await write(store, Changeset(appends=[append("a", 0, 2), append("b")], project=project))

        stored = [*await store.read_stream("a", limit=9), *await store.read_stream("b", limit=9)]
        assert seen == stored

    async def test_what_it_says_is_written_with_the_events(self, store: Store) -> None:
        await with_tables(store)

        def project(events: Sequence[StoredEvent]) -> Sequence[RowOperation]:
            return [seat(event.stream, event.version) for event in events]

        outcomes = await store.write(
            [
                appending("A", 0, 2, project=project),
                appending("B", 5, project=project),
                appending("A", 2, project=project),
            ]
        )

        assert numbers(outcomes) == [True, False, True]
        rows, _ = await store.find_rows(SEATS, Query())
        assert list(rows) == ['"A1"', '"A2"', '"A3"']

    async def test_a_unique_column_refuses_the_events_themselves(self, store: Store) -> None:
        await with_tables(store)
        await write_rows(store, person("ann", email="a@example.org"))

        refusal = await attempt(store, appending("b", project=lambda _: [person("bob", email="a@example.org")]))

        assert isinstance(refusal, NotUnique)
        assert await versions(store, "b") == []

    async def test_a_projection_that_fails_harms_no_neighbour(self, store: Store) -> None:
        def fail(_: Sequence[StoredEvent]) -> Sequence[RowOperation]:
            raise LookupError("there is no such row")

        outcomes = await store.write([appending("a"), appending("b", project=fail), appending("c")])

        assert numbers(outcomes) == [True, False, True]
        assert isinstance(outcomes[1], ChangesetRefused)
        assert [await versions(store, name) for name in "abc"] == [[1], [], [1]]
