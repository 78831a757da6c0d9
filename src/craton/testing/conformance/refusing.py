"""Every store refuses what can't be carried out, without harm to other units, and never with an error of a driver."""
# ruff: noqa: S101

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from craton.ports import (
    Document,
    OperatorRequest,
    ParkedEvent,
    Query,
    RowDelete,
    RowFold,
    RowPut,
    Statement,
    StatementFailed,
    Store,
    StoredRow,
    Table,
    Timer,
)
from craton.testing.conformance.making import (
    NOON,
    PEOPLE,
    appending,
    event,
    numbers,
    person,
    versions,
    whole_feed,
    with_tables,
    write,
)
from craton.testing.conformance.refusals import HALF, NUL, not_refused, not_refused_in_a_transaction

"""Half of a surrogate pair, which no encoding can represent."""
HUGE = 2**70
NOWHERE = Table("view_nowhere_1", PEOPLE.key, PEOPLE.indexes)


_FIRST = event("b", 1)


_ROWS: dict[str, list[Any]] = {
    "an object in a row": [person("bob", name=object())],
    "a decimal in a row": [person("bob", age=Decimal("1.5"))],
    "a number too large in a row": [person("bob", age=HUGE)],
    "NUL in a row": [person("bob", name=NUL)],
    "half a pair in a row": [person("bob", name=HALF)],
    "a row without a key": [person(None)],  # type: ignore[arg-type]
    "a row of too few columns": [RowPut(PEOPLE, StoredRow(("bob",), ("mail",), "row"))],
    "a row of a table that isn't there": [RowPut(NOWHERE, person("bob").row)],
    "a fold of NUL": [RowFold(PEOPLE, (NUL,), lambda _: None)],
    "a fold of an object": [RowFold(PEOPLE, (object(),), lambda _: None)],
    "a deletion of half a pair": [RowDelete(PEOPLE, (HALF,))],
}

_PARTS: dict[str, dict[str, Any]] = {
    "a checkpoint too large": {"checkpoint": ("reader", HUGE)},
    "NUL in a subscription's name": {"checkpoint": (NUL, 1)},
    "NUL in a timer": {"timers": [Timer("t", NOON, "remind", NUL, "{}")]},
    "two timers of one id": {"timers": [Timer("t", NOON, "remind", "{}", "{}")] * 2},
    "half a pair in a document": {"documents": [Document("d", 1, HALF)]},
    "NUL in the error of a parked event": {
        "parked": [ParkedEvent("reader", 1, "key", NUL, 1, NOON, "", _FIRST.at(1, last=True))]
    },
    "a parked event that isn't there": {"parked": [ParkedEvent("reader", 1, "key", "why", 1, NOON)]},
    "a request of NUL": {"operator_requests": [OperatorRequest(NUL, 1, "drop")]},
    "a request at a position too large": {"operator_requests": [OperatorRequest("reader", HUGE, "drop")]},
    "NUL in a statement": {"statements": [Statement("DELETE FROM view_people_1 WHERE id = :id", {"id": NUL})]},
    "half a pair in a statement": {"statements": [Statement("DELETE FROM view_people_1 WHERE id = :id", {"id": HALF})]},
    "half a pair in its SQL": {"statements": [Statement(f"DELETE FROM view_people_1 WHERE id = '{HALF}'", {})]},
    "NUL in its SQL": {"statements": [Statement(f"DELETE FROM view_people_1 WHERE id = '{NUL}'", {})]},
}

UNFIT = {name: appending("b", rows=rows) for name, rows in _ROWS.items()} | {
    name: appending("b", **part) for name, part in _PARTS.items()
}

Read = Callable[[Store], Awaitable[Any]]


def _fetching(sql: str, **parameters: Any) -> Read:
    return lambda store: store.fetch(Statement(sql, parameters))


READS: dict[str, Read] = {
    "a stream of NUL": lambda store: store.read_stream(NUL, limit=1),
    "a stream of half a pair": lambda store: store.read_stream(HALF, limit=1),
    "a stream, less than nothing": lambda store: store.read_stream("a", limit=-1),
    "a stream backwards, less than nothing": lambda store: store.read_stream("a", limit=-1, descending=True),
    "a stream, too much": lambda store: store.read_stream("a", limit=HUGE),
    "a stream, without a limit": lambda store: store.read_stream("a", limit=None),  # type: ignore[arg-type]
    "a stream after a version too large": lambda store: store.read_stream("a", after=HUGE, limit=1),
    "the feed, less than nothing": lambda store: store.read_feed(0, -1),
    "the feed, a text's worth": lambda store: store.read_feed(0, "1"),  # type: ignore[arg-type]
    "the feed after a position too large": lambda store: store.read_feed(HUGE, 1),
    "a result of NUL": lambda store: store.find_result("scope", NUL),
    "a result of half a scope": lambda store: store.find_result(HALF, "key"),
    "a checkpoint of NUL": lambda store: store.checkpoint(NUL),
    "a document of half a pair": lambda store: store.document(HALF),
    "timers, less than nothing": lambda store: store.due_timers(NOON, -1),
    "what NUL has parked": lambda store: store.parked(NUL),
    "events parked under NUL": lambda store: store.parked_events("reader", NUL, 1),
    "parked events, less than nothing": lambda store: store.parked_events("reader", "key", -1),
    "results to forget, less than nothing": lambda store: store.forget_results(NOON, ("", ""), -1, "§"),
    "a lease of NUL": lambda store: store.acquire(NUL, "ann", 1.0),
    "a lease of half an owner": lambda store: store.acquire("lease", HALF, 1.0),
    "a lease of NUL, given back": lambda store: store.release(NUL, "ann"),
    "a row of NUL": lambda store: store.get_rows(PEOPLE, [(NUL,)]),
    "rows, one of half a pair": lambda store: store.get_rows(PEOPLE, [("ann",), (HALF,)]),
    "a row of an object": lambda store: store.get_rows(PEOPLE, [(object(),)]),
    "a row of a key too long": lambda store: store.get_rows(PEOPLE, [("ann", "bob")]),
    "a row of no table": lambda store: store.get_rows(NOWHERE, [("ann",)]),
    "rows, less than nothing": lambda store: store.find_rows(PEOPLE, Query(limit=-1)),
    "rows from before the first": lambda store: store.find_rows(PEOPLE, Query(offset=-1)),
    "rows of NUL": lambda store: store.find_rows(PEOPLE, Query(where={"email": NUL})),
    "rows with half a pair in them": lambda store: store.find_rows(PEOPLE, Query(contains={"name": HALF})),
    "rows of a number too large": lambda store: store.find_rows(PEOPLE, Query(where={"age": HUGE})),
    "rows of an object": lambda store: store.find_rows(PEOPLE, Query(where={"age": object()})),
    "rows by no column": lambda store: store.find_rows(PEOPLE, Query(where={"nothing": "nothing"})),
    "rows in the order of no column": lambda store: store.find_rows(PEOPLE, Query(order=("nothing",))),
    "a sum of no column": lambda store: store.sum_rows(PEOPLE, "nothing", [], Query()),
    "a sum by no column": lambda store: store.sum_rows(PEOPLE, "age", ["nothing"], Query()),
    "a sum of NUL": lambda store: store.sum_rows(PEOPLE, "age", [], Query(where={"id": NUL})),
    "a statement about NUL": _fetching("SELECT row FROM view_people_1 WHERE id = :id", id=NUL),
    "a statement about half a pair": _fetching("SELECT row FROM view_people_1 WHERE id = :id", id=HALF),
    "a statement about an object": _fetching("SELECT row FROM view_people_1 WHERE id = :id", id=object()),
    "a statement about a number too large": _fetching("SELECT row FROM view_people_1 WHERE age = :age", age=HUGE),
    "a statement without its value": _fetching("SELECT row FROM view_people_1 WHERE id = :id", name="ann"),
    "a statement with half a pair": _fetching(f"SELECT '{HALF}'"),
    "a statement with NUL": _fetching(f"SELECT '{NUL}'"),
    "two statements": _fetching("SELECT 1; SELECT 2"),
}


class UnfitValues:
    """A value that the database can't hold fails only the unit that contains it."""

    async def test_units_with_it_are_refused_and_their_neighbours_are_written(self, store: Store) -> None:
        await with_tables(store, PEOPLE)

        assert await not_refused(store, UNFIT) == []
        assert (await store.find_rows(PEOPLE, Query()))[1] == 0

    async def test_a_transaction_refuses_them_and_goes_on(self, store: Store) -> None:
        await with_tables(store, PEOPLE)

        assert await not_refused_in_a_transaction(store, UNFIT) == []

    async def test_an_inline_projection_that_makes_it_fails_its_own_unit(self, store: Store) -> None:
        await with_tables(store, PEOPLE)
        projecting = {
            name: appending("b", project=lambda _, rows=unit.rows: rows) for name, unit in UNFIT.items() if unit.rows
        }

        assert await not_refused(store, projecting) == []

    async def test_one_bad_unit_of_twenty_fails_alone(self, store: Store) -> None:
        await with_tables(store, PEOPLE)
        units = [appending(f"s{n}", rows=[person(f"p{n}")]) for n in range(20)]
        units[7] = appending("b", rows=[person("bob", name=object())])

        outcomes = await store.write(units)

        assert [n for n, written in enumerate(numbers(outcomes)) if not written] == [7]
        assert isinstance(outcomes[7], StatementFailed)
        assert (await store.find_rows(PEOPLE, Query()))[1] == len(await whole_feed(store)) == 19

    async def test_a_transaction_refuses_statements_with_it(self, store: Store) -> None:
        async with store.transaction("read committed") as transaction:
            for value in (NUL, HALF, object()):
                with pytest.raises(StatementFailed):
                    await transaction.execute(Statement("DELETE FROM events WHERE id = :id", {"id": value}))
                with pytest.raises(StatementFailed):
                    await transaction.fetch(Statement("SELECT id FROM events WHERE id = :id", {"id": value}))
            await transaction.write(appending("a"))

        assert await versions(store, "a") == [1]


class UnfitReads:
    """A read that can't be carried out is refused with an error of the port."""

    async def test_they_are_refused_and_the_store_goes_on(self, store: Store) -> None:
        await with_tables(store, PEOPLE)
        wrong = []

        for name, read in READS.items():
            try:
                await read(store)
            except StatementFailed:
                assert await write(store, appending(name)) > 0
            else:
                wrong.append(name)

        assert wrong == []

    async def test_streams_whose_names_can_not_be_stored_are_loaded_empty_beside_others(self, store: Store) -> None:
        await write(store, appending("a", 0, 2))

        states = await store.load([(NUL, "f"), ("a", "f"), (HALF, "f"), ("nobody", "f")])

        assert [len(state.events) for state in states] == [0, 2, 0, 0]
        assert states[0] == states[2] == states[3]

    async def test_a_limit_of_zero_returns_nothing(self, store: Store) -> None:
        await write(store, appending("a"))

        assert list(await store.read_stream("a", limit=0)) == []
        assert (await store.read_feed(0, 0)).position == 0

    async def test_no_event_comes_after_a_version_that_no_stream_can_reach(self, store: Store) -> None:
        await write(store, appending("a"))

        assert list(await store.read_stream("a", after=2**40, limit=9)) == []
        assert len(await store.read_stream("a", after=2**40, limit=9, descending=True)) == 1

    async def test_parameters_are_named_in_any_alphabet(self, store: Store) -> None:
        (row,) = await store.fetch(Statement("SELECT :größe AS a, :Größe2 AS b", {"größe": "1", "Größe2": "2"}))

        assert row == {"a": "1", "b": "2"}
