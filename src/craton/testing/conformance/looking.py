"""What operators look at: events by their properties, timers, leases."""
# ruff: noqa: S101

from datetime import timedelta

from msgspec.structs import replace

from craton.ports import Append, Changeset, EventFilter, HeldLease, NewEvent, Store, Timer
from craton.testing.conformance.making import NOON, appending, event, write

EVERYTHING = 100


def _event(
    version: int, kind: str = "Happened", actor: str = "ann", correlation: str = "c1", hours: int = 0
) -> NewEvent:
    metadata = f'{{"actor":"{actor}","correlation":"{correlation}"}}'
    return replace(event("a", version), type=kind, metadata=metadata, time=NOON + timedelta(hours=hours))


class Searching:
    """Events are found by their properties, newest first."""

    async def _log(self, store: Store) -> None:
        events = [
            _event(1),
            _event(2, "Ended", hours=1),
            _event(3, actor="bob", hours=2),
            _event(4, correlation="c2", hours=3),
        ]
        await write(store, Changeset(appends=[Append("a", 0, events)]))
        await write(store, appending("b", 0, 2))

    async def _found(
        self, store: Store, before: int = 0, limit: int = EVERYTHING, scanned: int = EVERYTHING, **wanted: object
    ) -> tuple[list[int], int]:
        events, reached = await store.search(EventFilter(**wanted), before, limit, scanned)  # type: ignore[arg-type]
        return [event.position for event in events], reached

    async def test_all_are_found_newest_first(self, store: Store) -> None:
        await self._log(store)

        assert await self._found(store) == ([6, 5, 4, 3, 2, 1], 0)

    async def test_by_stream_type_actor_correlation_and_time(self, store: Store) -> None:
        await self._log(store)

        assert await self._found(store, stream="a") == ([4, 3, 2, 1], 0)
        assert await self._found(store, type="Ended") == ([2], 0)
        assert await self._found(store, stream="a", actor="bob") == ([3], 0)
        assert await self._found(store, correlation="c2") == ([4], 0)
        assert await self._found(store, start=NOON + timedelta(hours=1), end=NOON + timedelta(hours=3)) == ([3, 2], 0)

    async def test_a_page_goes_on_where_the_one_before_ended(self, store: Store) -> None:
        await self._log(store)

        assert await self._found(store, limit=2) == ([6, 5], 5)
        assert await self._found(store, before=5, limit=2, stream="a") == ([4, 3], 3)
        assert await self._found(store, before=3, limit=3) == ([2, 1], 0)

    async def test_a_search_looks_at_no_more_events_than_its_bound(self, store: Store) -> None:
        await self._log(store)

        assert await self._found(store, type="Ended", scanned=3) == ([], 4)
        assert await self._found(store, before=4, type="Ended", scanned=3) == ([2], 1)
        assert await self._found(store, before=1, type="Ended", scanned=3) == ([], 0)

    async def test_in_an_empty_log_there_is_nothing(self, store: Store) -> None:
        assert await self._found(store) == ([], 0)

    async def test_an_event_is_found_as_it_was_written(self, store: Store) -> None:
        await self._log(store)

        found, _ = await store.search(EventFilter(), 0, EVERYTHING, EVERYTHING)

        assert list(reversed(found)) == list((await store.read_feed(0, EVERYTHING)).events)


class LookingAtTimersAndLeases:
    """Timers in the order in which they are due, leases by name."""

    async def test_timers_come_page_by_page(self, store: Store) -> None:
        timers = [Timer(str(n), NOON + timedelta(hours=n), "remind", "{}", "{}", parked=n == 1) for n in range(3)]
        await write(store, Changeset(timers=timers))

        assert await store.timers(2, 0) == (timers[:2], 3)
        assert await store.timers(2, 2) == (timers[2:], 3)
        assert await store.timers(2, 4) == ([], 3)
        assert await store.timers(9, 0, parked=True) == ([timers[1]], 1)
        assert await store.timers(9, 0, parked=False) == ([timers[0], timers[2]], 2)

    async def test_without_timers_there_are_none(self, store: Store) -> None:
        assert await store.timers(9, 0) == ([], 0)

    async def test_leases_are_listed_with_their_owners(self, store: Store, second_store: Store) -> None:
        number = await store.acquire("b", "ann", 30.0)
        await second_store.acquire("a", "bob", 30.0)
        await second_store.release("a", "bob")
        assert number is not None

        assert list(await store.leases()) == [
            HeldLease("a", "bob", 1, held=False),
            HeldLease("b", "ann", number, held=True),
        ]
