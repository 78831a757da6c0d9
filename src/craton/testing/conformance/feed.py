"""The feed: every committed event once, in an order in which each stream's events are in version order."""
# ruff: noqa: S101

import asyncio
import random
from collections import defaultdict
from itertools import groupby

from msgspec.structs import replace

from craton.ports import Append, Changeset, EventKind, Store, StoredEvent
from craton.testing.conformance.making import append, appending, attempt, event, versions, whole_feed, write


class Feed:
    async def test_an_empty_log_has_an_empty_feed(self, store: Store) -> None:
        page = await store.read_feed(0, 10)

        assert (list(page.events), page.position, await store.head()) == ([], 0, 0)

    async def test_events_come_in_the_order_of_their_positions(self, store: Store) -> None:
        await store.write([Changeset(appends=[append("a", 0, 2), append("b")]), appending("a", 2)])

        events = await whole_feed(store)

        assert [(event.stream, event.version) for event in events] == [("a", 1), ("a", 2), ("b", 1), ("a", 3)]
        positions = [event.position for event in events]
        assert positions == sorted(set(positions))
        assert await store.head() == positions[-1]

    async def test_the_feed_holds_the_events_as_their_streams_do(self, store: Store) -> None:
        await write(store, appending("a", 0, 3))

        assert await whole_feed(store) == list(await store.read_stream("a", limit=9))

    async def test_it_is_read_in_pages_that_follow_on_each_other(self, store: Store) -> None:
        await store.write([appending("a", version) for version in range(7)])

        first = await store.read_feed(0, 3)
        second = await store.read_feed(first.position, 3)
        third = await store.read_feed(second.position, 3)
        fourth = await store.read_feed(third.position, 3)

        pages = [[event.version for event in page.events] for page in (first, second, third, fourth)]
        assert pages == [[1, 2, 3], [4, 5, 6], [7], []]
        assert fourth.position == third.position

    async def test_the_kinds_of_events_behind_a_position_are_told_once_each(self, store: Store) -> None:
        weighed = replace(event("box-2", 1), type="Weighed", schema_version=3)
        await write(store, appending("box-1", 0, 2))
        position = await write(store, Changeset(appends=[Append("box-2", 0, [weighed]), append("plain")]))
        await write(store, appending("box-1-a", 0, 2))

        happened = EventKind("box", "Happened", 1)
        kinds = {EventKind("box", "Weighed", 3), EventKind("plain", "Happened", 1), happened}
        found = await store.kinds(0)
        assert (len(found), set(found)) == (3, kinds)
        assert await store.kinds(position) == [happened]
        assert await store.kinds(position + 2) == []

    async def test_a_page_holds_a_unit_whole_or_not_at_all(self, store: Store) -> None:
        await store.write(
            [appending("a", 0, 2), Changeset(appends=[append("b", 0, 2), append("c")]), appending("d", 0, 2)]
        )

        pages = await _pages(store, 4)

        assert [[event.stream for event in page] for page in pages] == [["a", "a"], ["b", "b", "c"], ["d", "d"]]

    async def test_a_unit_that_is_longer_than_a_page_is_a_page(self, store: Store) -> None:
        await store.write([appending("a"), Changeset(appends=[append("b", 0, 5), append("c", 0, 2)]), appending("d")])

        pages = await _pages(store, 3)

        assert [len(page) for page in pages] == [1, 7, 1]

    async def test_the_last_event_of_each_unit_says_so(self, store: Store) -> None:
        await store.write(
            [Changeset(appends=[append("a", 0, 2), append("b", 0, 2)]), appending("c"), appending("a", 2, 2)]
        )
        async with store.transaction("read committed") as transaction:
            await transaction.write(appending("d", 0, 2))
            await transaction.write(appending("e"))

        events = await whole_feed(store)

        assert [event.last for event in events] == [False, False, False, True, True, False, True, False, True, True]
        (state,) = await store.load([("a", "f")])
        assert list(state.events) == [event for event in events if event.stream == "a"]

    async def test_a_reader_that_stands_inside_a_unit_is_given_its_rest(self, store: Store) -> None:
        await write(store, appending("a", 0, 5))
        await write(store, appending("b"))
        second = (await whole_feed(store))[1].position

        page = await store.read_feed(second, 2)

        assert [event.version for event in page.events] == [3, 4, 5]

    async def test_refused_units_do_not_stop_a_reader(self, store: Store) -> None:
        for n in range(5):
            await write(store, appending(f"s{n}"))
            await attempt(store, appending("s0", 9))

        assert [event.stream for event in await whole_feed(store, page=2)] == [f"s{n}" for n in range(5)]

    async def test_positions_of_a_rolled_back_transaction_are_skipped(self, store: Store) -> None:
        await write(store, appending("a"))
        try:
            async with store.transaction("read committed") as transaction:
                await transaction.write(appending("never", 0, 3))
                raise LookupError
        except LookupError:
            pass
        await write(store, appending("b"))

        assert [event.stream for event in await whole_feed(store, page=1)] == ["a", "b"]

    async def test_what_another_client_has_written_is_read(self, store: Store, second_store: Store) -> None:
        await write(store, appending("a"))
        await write(second_store, appending("a", 1))

        assert [event.version for event in await whole_feed(store)] == [1, 2]
        assert await whole_feed(store) == await whole_feed(second_store)


class ManyWriters:
    """Many writers write at once, to overlapping streams, through two clients."""

    STREAMS = tuple(f"stream-{n}" for n in range(4))
    WRITERS = 12
    ROUNDS = 8

    async def _write_rounds(self, store: Store, seed: int) -> list[int]:
        """Append to two random streams, repeatedly; return the positions that the store has returned."""
        chance = random.Random(seed)
        positions = []
        for _ in range(self.ROUNDS):
            chosen = chance.sample(self.STREAMS, 2)
            while True:
                at = {stream: (await versions(store, stream) or [0])[-1] for stream in chosen}
                unit = Changeset(appends=[append(stream, at[stream], chance.randint(1, 2)) for stream in chosen])
                outcome = await attempt(store, unit)
                if isinstance(outcome, int):
                    positions.append(outcome)
                    break
        return positions

    async def test_versions_have_no_gaps_and_each_position_is_read_once(
        self, store: Store, second_store: Store
    ) -> None:
        told = await asyncio.gather(*(self._write_rounds((store, second_store)[n % 2], n) for n in range(self.WRITERS)))

        events = await whole_feed(store, page=7)
        positions = [event.position for event in events]
        assert positions == sorted(set(positions))
        assert {position for some in told for position in some} <= set(positions)
        assert _gapless(events)
        assert len(events) == sum([len(await versions(store, stream)) for stream in self.STREAMS])

    async def _write_units(self, store: Store, writer: int) -> None:
        """Write units whose events all hold the same data, in batches with units of one event."""
        for n in range(self.ROUNDS):
            long = Changeset(appends=[append(f"{writer}-{name}", 4 * n, 4, data=f'"{writer} {n}"') for name in "ab"])
            short = Changeset(appends=[append(f"{writer}-c", n, data=f'"{writer} {n} c"')])
            await store.write([long, short])

    async def test_a_reader_that_follows_never_sees_part_of_a_unit_or_two_units_mixed(
        self, store: Store, second_store: Store
    ) -> None:
        writing = asyncio.gather(*(self._write_units((store, second_store)[n % 2], n) for n in range(self.WRITERS)))
        pages: list[list[str]] = []
        position = 0

        while True:
            ended = writing.done()
            page = await second_store.read_feed(position, 5)
            if page.position > position:
                pages.append([event.data for event in page.events])
            elif ended:
                break
            position = page.position

        await writing
        units = [[data for data, _ in groupby(page)] for page in pages]
        assert [len(page) for page in pages] == [
            sum(1 if data.endswith('c"') else 8 for data in unit) for unit in units
        ]
        assert sum(map(len, units)) == len({data for unit in units for data in unit}) == 2 * self.WRITERS * self.ROUNDS

    async def test_a_reader_that_follows_sees_all_events_in_order_and_none_twice(
        self, store: Store, second_store: Store
    ) -> None:
        writing = asyncio.gather(*(self._write_rounds((store, second_store)[n % 2], n) for n in range(self.WRITERS)))
        read: list[StoredEvent] = []

        while not writing.done():
            after = read[-1].position if read else 0
            read += (await second_store.read_feed(after, 5)).events
        read += await whole_feed(second_store, after=read[-1].position if read else 0)

        await writing
        assert read == await whole_feed(store)
        assert _gapless(read)


async def _pages(store: Store, limit: int) -> list[list[StoredEvent]]:
    """The whole feed in pages."""
    pages, after = [], 0
    while (page := await store.read_feed(after, limit)).position > after:
        pages.append(list(page.events))
        after = page.position
    return pages


def _gapless(events: list[StoredEvent]) -> bool:
    """Whether the versions of each stream are 1, 2, 3, … in the order of the feed."""
    seen: defaultdict[str, int] = defaultdict(int)
    for read in events:
        seen[read.stream] += 1
        if read.version != seen[read.stream]:
            return False
    return True
