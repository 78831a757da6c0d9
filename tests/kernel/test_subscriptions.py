"""Subscriptions, step by step: who owns them, what is parked, and what an operator can do about it."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from msgspec.structs import replace

from craton.application.upcasting import EventTypes
from craton.ports import Changeset, ParkedEvent, RowPut, Store, StoredEvent, StoredRow
from craton.runtime.background import Background
from craton.runtime.committer import Committer
from craton.runtime.process.signal import Signal
from craton.runtime.subscriptions.feed import EventPage, Feed
from craton.runtime.subscriptions.handler import Failed, Handled
from craton.runtime.subscriptions.parked import PARKED_PAGE
from craton.runtime.subscriptions.subscription import Options, Subscription
from craton.testing.conformance.making import SEATS, append, appending, with_tables, write
from tests.kernel.conftest import Clock
from tests.parking import ask

NAME = "reader"


class Noting:
    """A handler that writes a row for each event; events whose data is poison fail."""

    def __init__(self) -> None:
        self.poison: set[str] = set()
        self.begun = 0

    def concerns(self, event: StoredEvent) -> bool:
        return True

    def key(self, event: StoredEvent) -> str:
        return event.stream

    async def reset(self) -> None:
        self.begun += 1

    async def handle(self, page: EventPage, events: Sequence[StoredEvent]) -> Handled:
        rows, failed, blocked = [], [], set()
        for event in events:
            if event.stream in blocked or event.data in self.poison:
                failed.append(Failed(event, "" if event.stream in blocked else f"ValueError: {event.data}"))
                blocked.add(event.stream)
            else:
                rows.append(RowPut(SEATS, StoredRow((event.stream, event.version), (event.position,), event.data)))
        return Handled(rows, failed)


def background(store: Store, owner: str) -> Background:
    signal, types = Signal(), EventTypes([])
    return Background(
        module="seats",
        source="seats",
        store=store,
        events=types,
        commit=Committer(store, signal.fire).submit,
        feed=Feed(store, types, signal),
        signal=signal,
        owner=owner,
        clock=Clock(),
    )


class Reader(Subscription):
    """A subscription with its handler at hand."""

    def __init__(self, store: Store, owner: str, *, page: int = 100) -> None:
        self.handler = Noting()
        super().__init__(NAME, background(store, owner), self.handler, options=Options(page=page))


async def _handled(store: Store) -> list[tuple[str, int]]:
    """What has taken effect, in the order of the feed."""
    events = [event async for event in _events(store)]
    rows = await store.get_rows(SEATS, [(event.stream, event.version) for event in events]) if events else []
    return [(event.stream, event.version) for event, row in zip(events, rows, strict=True) if row is not None]


async def _events(store: Store) -> AsyncIterator[StoredEvent]:
    after = 0
    while (page := await store.read_feed(after, 100)).position != after:
        for event in page.events:
            yield event
        after = page.position


@pytest.fixture
async def reader(store: Store) -> Reader:
    await with_tables(store, SEATS)
    return Reader(store, "ann")


class TestReading:
    async def test_each_event_takes_effect_and_the_checkpoint_follows(self, store: Store, reader: Reader) -> None:
        await write(store, Changeset(appends=[append("a", 0, 2), append("b")]))

        assert await reader.step()
        assert not await reader.step()

        assert await _handled(store) == [("a", 1), ("a", 2), ("b", 1)]
        assert reader.position == await store.checkpoint(NAME) == await store.head()

    async def test_a_reader_goes_on_where_it_has_stopped(self, store: Store, reader: Reader) -> None:
        await store.write([appending("a", version) for version in range(5)])
        small = Reader(store, "ann", page=2)
        await small.step()

        again = Reader(store, "ann", page=2)
        await again.step()

        assert again.position == (await store.read_stream("a", limit=9))[3].position
        assert len(await _handled(store)) == 4

    async def test_whoever_waits_is_told_when_it_has_moved(self, store: Store, reader: Reader) -> None:
        await write(store, appending("a"))
        seen = reader.moved.seen()

        await reader.step()

        assert reader.moved.seen() > seen


class TestOwnership:
    async def test_one_process_at_a_time_is_the_owner(self, store: Store, second_store: Store, reader: Reader) -> None:
        other = Reader(second_store, "bob")
        await write(store, appending("a"))
        await reader.step()
        await write(store, appending("a", 1))

        assert not await other.step()
        assert await reader.step()

    async def test_who_is_not_the_owner_asks_for_it_now_and_then_only(
        self, second_store: Store, reader: Reader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []
        acquire = second_store.acquire

        async def counted(lease: str, owner: str, seconds: float) -> int | None:
            asked.append(lease)
            return await acquire(lease, owner, seconds)

        monkeypatch.setattr(second_store, "acquire", counted)
        other = Reader(second_store, "bob")
        await reader.step()

        for _ in range(5):
            assert not await other.step()

        assert asked == [other.name]

    async def test_when_the_owner_releases_it_another_takes_over(
        self, store: Store, second_store: Store, reader: Reader
    ) -> None:
        other = Reader(second_store, "bob")
        await write(store, appending("a"))
        await reader.step()
        await write(store, appending("a", 1))
        await store.release(NAME, "ann")

        assert await other.step()

        assert await _handled(store) == [("a", 1), ("a", 2)]
        assert other.handler.begun == 1

    async def test_an_owner_who_was_only_thought_dead_can_not_write_any_more(
        self, store: Store, second_store: Store, reader: Reader
    ) -> None:
        other = Reader(second_store, "bob")
        await write(store, appending("a"))
        await reader.step()
        await store.release(NAME, "ann")
        await other.step()
        await write(store, appending("a", 1))

        assert not await reader.step()
        assert await _handled(store) == [("a", 1)]
        assert await other.step()
        assert await _handled(store) == [("a", 1), ("a", 2)]

    async def test_an_owner_in_the_middle_of_a_page_is_fenced_off(
        self, store: Store, second_store: Store, reader: Reader
    ) -> None:
        other = Reader(second_store, "bob")
        await write(store, appending("a"))
        handle = reader.handler.handle

        async def overtaken(page: EventPage, events: Sequence[StoredEvent]) -> Handled:
            handled = await handle(page, events)
            await store.release(NAME, "ann")
            assert await other.step()
            return handled

        reader.handler.handle = overtaken  # type: ignore[method-assign]

        assert not await reader.step()
        assert await _handled(store) == [("a", 1)]
        assert await store.checkpoint(NAME) == other.position

    async def test_a_running_reader_that_is_stopped_gives_its_lease_back(
        self, store: Store, second_store: Store, reader: Reader
    ) -> None:
        await write(store, appending("a"))
        seen = reader.moved.seen()
        running = asyncio.create_task(reader.run())
        await reader.moved.wait(seen, 30)
        running.cancel()
        await asyncio.wait([running])
        await write(store, appending("a", 1))

        assert await Reader(second_store, "bob").step()


class TestParking:
    @pytest.fixture
    async def poisoned(self, store: Store, reader: Reader) -> Reader:
        """A reader that has met a poisoned second event of stream a."""
        reader.handler.poison = {"poison"}
        await write(store, appending("a"))
        await write(store, Changeset(appends=[append("a", 1, data="poison"), append("b")]))
        await write(store, appending("a", 2))
        await reader.step()
        return reader

    async def _parked(self, store: Store) -> list[tuple[str, str, int]]:
        return [(entry.key, entry.error, entry.attempts) for entry in await store.parked(NAME)]

    async def test_a_poisoned_event_parks_its_stream_and_others_flow(self, store: Store, poisoned: Reader) -> None:
        assert await _handled(store) == [("a", 1), ("b", 1)]
        assert await self._parked(store) == [("a", "ValueError: poison", 1), ("a", "", 0)]
        assert poisoned.position == await store.head()

    async def test_later_events_of_the_stream_queue_up_behind_it(self, store: Store, poisoned: Reader) -> None:
        await write(store, Changeset(appends=[append("a", 3), append("b", 1)]))

        await poisoned.step()

        assert await _handled(store) == [("a", 1), ("b", 1), ("b", 2)]
        assert len(await store.parked(NAME)) == 3

    async def test_the_next_owner_keeps_the_stream_parked(
        self, store: Store, second_store: Store, poisoned: Reader
    ) -> None:
        await store.release(NAME, "ann")
        await write(store, appending("a", 3))

        await Reader(second_store, "bob").step()

        assert await _handled(store) == [("a", 1), ("b", 1)]
        assert len(await store.parked(NAME)) == 3

    async def test_a_retry_that_works_handles_all_in_order(self, store: Store, poisoned: Reader) -> None:
        poisoned.handler.poison.clear()
        (first, _) = await store.parked(NAME)
        await ask(store, NAME, first.position, "retry")

        assert await poisoned.step()

        assert await _handled(store) == [("a", 1), ("a", 2), ("b", 1), ("a", 3)]
        assert await store.parked(NAME) == []
        await write(store, appending("a", 3))
        await poisoned.step()
        assert ("a", 4) in await _handled(store)

    async def test_a_retry_that_fails_is_counted_and_leaves_all_as_it_was(self, store: Store, poisoned: Reader) -> None:
        (first, _) = await store.parked(NAME)
        await ask(store, NAME, first.position, "retry")

        assert await poisoned.step()
        assert not await poisoned.step()

        assert await self._parked(store) == [("a", "ValueError: poison", 2), ("a", "", 0)]
        assert [entry.operator_request for entry in await store.parked(NAME)] == ["", ""]

    async def test_a_dropped_event_lets_those_behind_it_through(self, store: Store, poisoned: Reader) -> None:
        (first, _) = await store.parked(NAME)
        await ask(store, NAME, first.position, "drop")

        assert await poisoned.step()

        assert await _handled(store) == [("a", 1), ("b", 1), ("a", 3)]
        assert await store.parked(NAME) == []

    async def test_what_is_wished_for_one_stream_leaves_another_alone(self, store: Store, poisoned: Reader) -> None:
        await write(store, appending("c"))
        await write(store, Changeset(appends=[append("c", 1, data="poison")]))
        await poisoned.step()
        entries = {entry.key: entry for entry in await store.parked(NAME)}
        await ask(store, NAME, entries["c"].position, "drop")

        await poisoned.step()

        assert {entry.key for entry in await store.parked(NAME)} == {"a"}

    async def test_wishes_for_two_streams_are_both_fulfilled(self, store: Store, poisoned: Reader) -> None:
        await write(store, Changeset(appends=[append("c", 0, data="poison")]))
        await poisoned.step()
        for entry in await store.parked(NAME):
            await ask(store, NAME, entry.position, "drop")

        while await poisoned.step():
            pass

        assert await store.parked(NAME) == []

    async def test_an_event_that_the_log_has_lost_is_retried_as_it_was_parked(
        self, store: Store, poisoned: Reader
    ) -> None:
        (event,) = await store.read_stream("b", limit=1)
        lost = replace(event, stream="lost", position=1_000_000)
        await write(store, Changeset(parked=[replace(_entry(lost), operator_request="retry")]))

        for _ in range(3):
            await poisoned.step()

        assert "lost" not in [entry.key for entry in await store.parked(NAME)]
        assert await store.get_rows(SEATS, [("lost", 1)]) != [None]

    async def test_a_retry_whose_row_the_store_refuses_is_over(self, store: Store, poisoned: Reader) -> None:
        handle = poisoned.handler.handle
        poisoned.handler.poison.clear()

        async def too_large(page: EventPage, events: Sequence[StoredEvent]) -> Handled:
            handled = await handle(page, [event for event in events if event.version != 2])
            wrong = [
                RowPut(SEATS, StoredRow((event.stream, event.version), (2**63,), event.data))
                for event in events
                if event.version == 2
            ]
            return Handled([*handled.rows, *wrong])

        poisoned.handler.handle = too_large  # type: ignore[method-assign]
        await ask(store, NAME, (await store.parked(NAME))[-1].position, "retry")

        assert await poisoned.step()
        assert not await poisoned.step()

        assert [entry.operator_request for entry in await store.parked(NAME)] == ["", ""]
        assert await _handled(store) == [("a", 1), ("b", 1)]

    async def test_a_row_that_the_store_refuses_parks_its_event_and_others_flow(
        self, store: Store, reader: Reader
    ) -> None:
        await write(store, Changeset(appends=[append("a"), append("b"), append("c")]))
        handle = reader.handler.handle

        async def too_large(page: EventPage, events: Sequence[StoredEvent]) -> Handled:
            handled = await handle(page, [event for event in events if event.stream != "b"])
            wrong = [
                RowPut(SEATS, StoredRow((event.stream, event.version), (2**63,), event.data))
                for event in events
                if event.stream == "b"
            ]
            return Handled([*handled.rows, *wrong])

        reader.handler.handle = too_large  # type: ignore[method-assign]

        for _ in ["together, in vain", "a", "b", "c"]:
            await reader.step()

        assert await _handled(store) == [("a", 1), ("c", 1)]
        assert [entry.key for entry in await store.parked(NAME)] == ["b"]


class TestManyParked:
    """More are parked under one key than are tried together."""

    MANY = PARKED_PAGE + 100

    @pytest.fixture
    async def crowded(self, store: Store, reader: Reader) -> Reader:
        """A reader of whose stream a all is parked, behind the first one, which is poisoned."""
        reader.handler.poison = {"poison"}
        await write(store, Changeset(appends=[append("a", data="poison")]))
        await write(store, Changeset(appends=[append("a", 1, self.MANY - 1)]))
        events = await store.read_stream("a", limit=self.MANY)
        await write(
            store, Changeset(parked=[_entry(event) for event in events], checkpoint=(NAME, events[-1].position))
        )
        return reader

    async def _steps(self, reader: Reader) -> int:
        """Let it step until it comes to rest; return how often."""
        steps = 0
        while await reader.step():
            steps += 1
            assert steps < 10, "it spins"
        return steps

    async def test_a_wish_far_behind_the_first_that_fails_is_over_when_that_one_has_failed_again(
        self, store: Store, crowded: Reader
    ) -> None:
        parked = await store.parked(NAME)
        await ask(store, NAME, parked[-1].position, "retry")

        await self._steps(crowded)

        left = await store.parked(NAME)
        assert (left[0].attempts, left[0].error) == (2, "ValueError: poison")
        assert len(left) == self.MANY
        assert not any(entry.operator_request for entry in left)

    async def test_other_streams_are_handled_meanwhile(self, store: Store, crowded: Reader) -> None:
        await ask(store, NAME, (await store.parked(NAME))[-1].position, "retry")
        await write(store, appending("b"))

        await crowded.step()

        assert await store.get_rows(SEATS, [("b", 1)]) != [None]

    @pytest.mark.parametrize("wished", [0, -1], ids=["the first", "the last"])
    async def test_a_retry_that_works_handles_all_that_is_behind_it(
        self, store: Store, crowded: Reader, wished: int
    ) -> None:
        crowded.handler.poison.clear()
        await ask(store, NAME, (await store.parked(NAME))[wished].position, "retry")

        await self._steps(crowded)

        assert await store.parked(NAME) == []
        assert len(await _handled(store)) == self.MANY

    async def test_what_is_recorded_meanwhile_is_handled_behind_it(self, store: Store, crowded: Reader) -> None:
        crowded.handler.poison.clear()
        await ask(store, NAME, (await store.parked(NAME))[0].position, "retry")

        await write(store, appending("a", self.MANY))
        await self._steps(crowded)

        assert await store.parked(NAME) == []
        assert len(await _handled(store)) == self.MANY + 1

    async def test_a_retry_is_finished_by_the_next_owner(
        self, store: Store, second_store: Store, crowded: Reader
    ) -> None:
        crowded.handler.poison.clear()
        await ask(store, NAME, (await store.parked(NAME))[0].position, "retry")
        await crowded.step()
        assert await store.parked(NAME) != []
        await store.release(NAME, "ann")

        await self._steps(Reader(second_store, "bob"))

        assert await store.parked(NAME) == []

    async def test_a_retry_stops_at_the_first_that_fails(self, store: Store, crowded: Reader) -> None:
        crowded.handler.poison = {"poison late"}
        await write(store, Changeset(appends=[append("a", self.MANY, data="poison late"), append("a2")]))
        await write(store, appending("a", self.MANY + 1))
        await ask(store, NAME, (await store.parked(NAME))[0].position, "retry")

        await self._steps(crowded)

        left = await store.parked(NAME)
        assert [(entry.error, entry.operator_request) for entry in left] == [("ValueError: poison late", ""), ("", "")]
        assert len(await _handled(store)) == self.MANY + 1

    async def test_one_far_behind_is_dropped_and_the_others_are_tried(self, store: Store, crowded: Reader) -> None:
        crowded.handler.poison.clear()
        await ask(store, NAME, (await store.parked(NAME))[-1].position, "drop")

        await self._steps(crowded)

        assert await store.parked(NAME) == []
        assert len(await _handled(store)) == self.MANY - 1


def _entry(event: StoredEvent) -> ParkedEvent:
    first = event.version == 1
    error = "ValueError: poison" if first else ""
    return ParkedEvent(NAME, event.position, event.stream, error, int(first), Clock().time, event=event)


class TestUnits:
    """What was committed together takes effect together."""

    async def test_a_page_never_ends_inside_a_unit(self, store: Store, reader: Reader) -> None:
        await store.write(
            [Changeset(appends=[append("a", 0, 2), append("b")]), Changeset(appends=[append("c"), append("d")])]
        )
        small = Reader(store, "ann", page=4)
        seen = []

        while await small.step():
            seen.append(await _handled(store))

        assert seen == [[("a", 1), ("a", 2), ("b", 1)], [("a", 1), ("a", 2), ("b", 1), ("c", 1), ("d", 1)]]

    async def test_nobody_sees_half_of_a_unit_while_the_reader_looks_for_what_the_store_refuses(
        self, store: Store, reader: Reader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await store.write([appending("x"), Changeset(appends=[append("a"), append("b"), append("c")]), appending("y")])
        seen: set[frozenset[tuple[str, int]]] = set()
        handle = reader.handler.handle

        async def handle_and_look(page: EventPage, events: Sequence[StoredEvent]) -> Handled:
            seen.add(frozenset(await _handled(store)))
            return _too_large(await handle(page, events), "b")

        monkeypatch.setattr(reader.handler, "handle", handle_and_look)

        while await reader.step():
            seen.add(frozenset(await _handled(store)))

        everything = [("x", 1), ("a", 1), ("c", 1), ("y", 1)]
        assert seen == {frozenset(everything[:end]) for end in (0, 1, 3, 4)}
        assert [entry.key for entry in await store.parked(NAME)] == ["b"]
        assert reader.position == await store.checkpoint(NAME) == await store.head()

    async def test_a_unit_of_which_much_is_refused_is_not_handled_over_and_over(
        self, store: Store, reader: Reader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await write(store, Changeset(appends=[append(f"{kind}{n}") for n in range(50) for kind in ("good", "bad")]))
        handle, handled = reader.handler.handle, list[int]()

        async def handle_some_wrongly(page: EventPage, events: Sequence[StoredEvent]) -> Handled:
            handled.append(len(events))
            right = await handle(page, events)
            for event in events:
                right = _too_large(right, event.stream) if event.stream.startswith("bad") else right
            return right

        monkeypatch.setattr(reader.handler, "handle", handle_some_wrongly)

        while await reader.step():
            assert sum(handled) < 500, "each event is handled many times"

        assert len(await store.parked(NAME)) == len(await _handled(store)) == 50

    async def test_an_owner_who_has_lost_its_lease_writes_nothing_of_a_unit(
        self, store: Store, second_store: Store, reader: Reader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await write(store, Changeset(appends=[append("a"), append("b")]))
        handle, begin = reader.handler.handle, reader.handler.reset

        async def handle_wrongly(page: EventPage, events: Sequence[StoredEvent]) -> Handled:
            return _too_large(await handle(page, events), "b")

        async def begin_again() -> None:
            await begin()
            if reader.handler.begun == 2:  # the unit was refused as a whole
                await second_store.release(NAME, "ann")
                await second_store.acquire(NAME, "bob", 60)

        monkeypatch.setattr(reader.handler, "handle", handle_wrongly)
        monkeypatch.setattr(reader.handler, "reset", begin_again)

        assert not await reader.step()

        assert (await _handled(store), await store.checkpoint(NAME), await store.parked(NAME)) == ([], 0, [])


def _too_large(handled: Handled, stream: str) -> Handled:
    """What was handled, with rows of a stream that no store takes."""
    rows = [
        RowPut(SEATS, StoredRow(row.row.key, (2**63,), row.row.row))
        if isinstance(row, RowPut) and row.row.key[0] == stream
        else row
        for row in handled.rows
    ]
    return Handled(rows, handled.failed)
