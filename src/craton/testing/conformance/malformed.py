"""Units whose parts contradict each other are refused before the database is asked."""
# ruff: noqa: S101

from typing import Any

from msgspec.structs import replace

from craton.ports import (
    Append,
    Changeset,
    Snapshot,
    StatementFailed,
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
    numbers,
    versions,
    whole_feed,
    write,
)
from craton.testing.conformance.refusals import HALF, NUL, not_refused, not_refused_in_a_transaction

"""Half of a surrogate pair, which no encoding has a place for."""


def _appending(*events: Any, stream: str = "b", expected: int = 0, **rest: Any) -> Changeset:
    return Changeset(appends=[Append(stream, expected, events)], **rest)


_FIRST = event("b", 1)

MALFORMED = {
    "two events of one version": _appending(_FIRST, event("b", 1)),
    "version 0": _appending(event("b", 0)),
    "a gap after the expected version": _appending(event("b", 2)),
    "a gap between two events": _appending(_FIRST, event("b", 3)),
    "versions backwards": _appending(event("b", 2), _FIRST),
    "an event of another stream": _appending(event("other", 1)),
    "two appends to one stream": Changeset(appends=[append("b", 0), append("b", 1)]),
    "a negative version": _appending(event("b", 0), expected=-1),
    "a version too large": _appending(event("b", 2**31), expected=2**31 - 1),
    "a guard against its own append": appending("b", guards=[("b", 1)]),
    "two guards against each other": appending("b", guards=[("seen", 0), ("seen", 1)]),
    "a negative guard": appending("b", guards=[("seen", -1)]),
    "two events of one id": _appending(_FIRST, replace(event("b", 2), id=_FIRST.id)),
    "NUL in a stream's name": appending(NUL),
    "half a pair in a stream's name": appending(HALF),
    "NUL in a guard": appending("b", guards=[(NUL, 0)]),
    "NUL in an event's type": _appending(replace(_FIRST, type=NUL)),
    "NUL in an event's data": _appending(replace(_FIRST, data=NUL)),
    "half a pair in an event's metadata": _appending(replace(_FIRST, metadata=HALF)),
    "an event without data": _appending(replace(_FIRST, data=None)),
    "an event at no time": _appending(replace(_FIRST, time="noon")),
    "NUL in a snapshot": appending("b", snapshots=[Snapshot("b", 1, "f", NUL)]),
    "NUL in a key": appending("b", result=StoredResult("scope", NUL, "f", "{}", NOON)),
    "half a pair in an answer": appending("b", result=StoredResult("scope", "key", "f", HALF, NOON)),
    "a key without an answer": appending("b", result=StoredResult("scope", "key", "f", None, NOON)),  # type: ignore[arg-type]
}


class MalformedUnits:
    """A unit whose parts contradict each other is its maker's mistake, and nobody else's."""

    async def test_they_are_refused_and_their_neighbours_are_written(self, store: Store) -> None:
        assert await not_refused(store, MALFORMED) == []

    async def test_a_transaction_refuses_them_and_goes_on(self, store: Store) -> None:
        assert await not_refused_in_a_transaction(store, MALFORMED) == []

    async def test_it_is_said_in_a_sentence_what_is_wrong(self, store: Store) -> None:
        refusal = await attempt(store, appending("b", guards=[("b", 1)]))

        assert isinstance(refusal, StatementFailed)
        assert str(refusal) == "the unit relies on the stream 'b' being at version 1 and at version 0"

    async def test_what_was_to_follow_on_it_is_refused_too(self, store: Store) -> None:
        outcomes = await store.write([_appending(_FIRST, event("b", 3)), appending("b", 2), appending("c")])

        assert numbers(outcomes) == [False, False, True]
        assert isinstance(outcomes[1], VersionConflict)

    async def test_a_guard_that_says_what_an_append_says_changes_nothing(self, store: Store) -> None:
        outcomes = await store.write([appending("a", 0, 2, guards=[("a", 0), ("b", 0), ("b", 0)]), appending("a", 2)])

        assert numbers(outcomes) == [True, True]
        assert await versions(store, "a") == [1, 2, 3]


class EventIds:
    """An event's id is that of one event of the log."""

    async def test_a_unit_with_an_id_of_the_log_is_refused_and_its_neighbours_are_written(self, store: Store) -> None:
        await write(store, _appending(_FIRST))

        outcomes = await store.write(
            [appending("a"), _appending(replace(_FIRST, stream="x"), stream="x"), appending("c")]
        )

        assert numbers(outcomes) == [True, False, True]
        assert isinstance(outcomes[1], StatementFailed)
        assert [event.stream for event in await whole_feed(store)] == ["b", "a", "c"]

    async def test_of_two_units_of_a_batch_the_first_gets_the_id(self, store: Store) -> None:
        outcomes = await store.write(
            [_appending(_FIRST), _appending(replace(_FIRST, stream="x"), stream="x"), appending("c")]
        )

        assert numbers(outcomes) == [True, False, True]
        assert [event.stream for event in await whole_feed(store)] == ["b", "c"]

    async def test_a_stream_does_not_repeat_an_id_either(self, store: Store) -> None:
        await write(store, _appending(_FIRST))

        refusal = await attempt(store, _appending(replace(_FIRST, version=2), expected=1))

        assert isinstance(refusal, StatementFailed)
        assert await versions(store, "b") == [1]
