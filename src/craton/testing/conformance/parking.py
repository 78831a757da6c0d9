"""Events that wait for an operator."""
# ruff: noqa: S101

from operator import attrgetter
from typing import Any, Literal

from msgspec.structs import replace

from craton.ports import Changeset, NothingParked, OperatorRequest, ParkedEvent, Store, WriteOutcome
from craton.testing.conformance.making import NOON, appending, attempt, event, write


async def _ask(store: Store, subscription: str, position: int, request: Literal["retry", "drop"]) -> WriteOutcome:
    return await attempt(store, Changeset(operator_requests=[OperatorRequest(subscription, position, request)]))


class ParkedEvents:
    """Events that wait for an operator."""

    @staticmethod
    def _parked(position: int, key: str = "a", **changes: Any) -> ParkedEvent:
        values: dict[str, Any] = {"error": "ValueError: no", "attempts": 1, "since": NOON} | changes
        return ParkedEvent("reader", position, key, **values)

    @classmethod
    def _parking(cls, position: int, key: str = "a", **changes: Any) -> ParkedEvent:
        """The record in the form in which it is written: with its event."""
        return replace(cls._parked(position, key, **changes), event=event("a", position).at(position, last=True))

    async def test_what_is_parked_is_shown_in_order_of_position(self, store: Store) -> None:
        other = replace(self._parking(5), subscription="other")

        await write(store, Changeset(parked=[self._parking(7), other, self._parking(3, "b")]))

        first, second = self._parked(3, "b"), self._parked(7)
        assert list(await store.parked("reader")) == [first, second]
        assert list(await store.parked()) == [first, replace(other, event=None), second]
        assert list(await store.parked("nobody")) == []

    async def test_an_event_that_is_parked_again_holds_the_newest_error(self, store: Store) -> None:
        await write(store, Changeset(parked=[self._parking(3)]))

        await write(store, Changeset(parked=[self._parking(3, error="KeyError: x", attempts=2)]))

        assert list(await store.parked("reader")) == [self._parked(3, error="KeyError: x", attempts=2)]

    async def test_an_operators_drop_stands_though_the_event_is_parked_again_meanwhile(self, store: Store) -> None:
        await write(store, Changeset(parked=[self._parking(3)]))
        await write(store, Changeset(operator_requests=[OperatorRequest("reader", 3, "drop")]))

        await write(store, Changeset(parked=[self._parking(3, attempts=2)]))

        assert list(await store.parked("reader")) == [self._parked(3, attempts=2, operator_request="drop")]

    async def test_an_unparked_event_is_gone(self, store: Store) -> None:
        await write(store, Changeset(parked=[self._parking(3), self._parking(4)]))

        await write(store, Changeset(unparked=[("reader", 3), ("reader", 99), ("other", 4)]))

        assert list(await store.parked("reader")) == [self._parked(4)]

    async def test_a_dropped_event_is_remembered_but_no_longer_parked(self, store: Store) -> None:
        await store.write([appending("a", 0, 4)])
        await write(store, Changeset(parked=[self._parking(4), self._parking(3), self._parking(2)]))

        await write(store, Changeset(dropped=[("reader", 4), ("reader", 3), ("other", 2)]))

        assert list(await store.dropped("reader")) == [3, 4]
        assert list(await store.dropped("other")) == []
        assert list(await store.parked()) == [self._parked(2)]
        assert [event.position for event in await store.parked_events("reader", "a", 10)] == [2]
        assert isinstance(await _ask(store, "reader", 3, "retry"), NothingParked)
        await write(store, Changeset(unparked=[("reader", 3)]))
        assert list(await store.dropped("reader")) == [4]

    async def test_an_operator_s_request_is_recorded_and_shown(self, store: Store) -> None:
        await write(store, Changeset(parked=[self._parking(3), self._parking(4)]))

        await write(store, Changeset(operator_requests=[OperatorRequest("reader", 3, "drop")]))
        await write(store, Changeset(operator_requests=[OperatorRequest("reader", 4, "retry")]))
        await write(store, Changeset(operator_requests=[OperatorRequest("reader", 4, "drop")]))

        assert [entry.operator_request for entry in await store.parked("reader")] == ["drop", "drop"]

    async def test_a_request_for_an_event_that_is_not_parked_is_refused(self, store: Store) -> None:
        await write(store, Changeset(parked=[self._parking(3)]))

        assert isinstance(await _ask(store, "reader", 4, "drop"), NothingParked)
        assert isinstance(await _ask(store, "other", 3, "drop"), NothingParked)

    async def test_an_event_parked_again_has_its_request_fulfilled(self, store: Store) -> None:
        await write(store, Changeset(parked=[self._parking(3)]))
        await write(store, Changeset(operator_requests=[OperatorRequest("reader", 3, "retry")]))

        await write(store, Changeset(parked=[self._parking(3, attempts=2)]))

        (entry,) = await store.parked("reader")
        assert entry.operator_request == ""

    async def test_the_events_parked_under_a_key_are_read_in_order_from_any_log(self, store: Store) -> None:
        entries = [self._parking(position) for position in (9, 3, 5)]
        await write(store, Changeset(parked=[*entries, self._parking(4, "b")]))

        events = sorted((entry.event for entry in entries if entry.event), key=attrgetter("position"))
        assert list(await store.parked_events("reader", "a", 10)) == events
        assert list(await store.parked_events("reader", "a", 2)) == events[:2]
        assert list(await store.parked_events("other", "a", 2)) == []

    async def test_an_event_parked_again_is_still_the_same_event(self, store: Store) -> None:
        parked = self._parking(3)
        await write(store, Changeset(parked=[parked]))

        await write(store, Changeset(parked=[self._parked(3, attempts=2)]))

        assert list(await store.parked_events("reader", "a", 10)) == [parked.event]
