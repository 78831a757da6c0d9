"""The module's own SQL: statements in units, and interactive transactions."""
# ruff: noqa: S101

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from craton.ports import Changeset, ChangesetRefused, NotUnique, Statement, StatementFailed, Store, VersionConflict
from craton.testing.conformance.making import (
    PEOPLE,
    appending,
    attempt,
    numbers,
    person,
    versions,
    whole_feed,
    with_tables,
    write,
)

MAKE = "CREATE TABLE IF NOT EXISTS notes (id TEXT PRIMARY KEY, body TEXT NOT NULL CHECK (body <> 'bad'), rank INTEGER)"
INSERT = "INSERT INTO notes (id, body, rank) VALUES (:id, :body, :rank)"
ENDLESS = Statement("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT 1 FROM n) SELECT count(*) FROM n", {})
"""A statement that ends only when it is stopped."""


def _insert(id: str, body: str = "text", rank: int | None = 1) -> Statement:
    return Statement(INSERT, {"id": id, "body": body, "rank": rank})


async def _ids(store: Store) -> list[str]:
    return [row["id"] for row in await store.fetch(Statement("SELECT id FROM notes ORDER BY id", {}))]


async def _with_notes(store: Store) -> None:
    await write(store, Changeset(statements=[Statement(MAKE, {})]))


async def _cancelled_soon(work: Coroutine[Any, Any, Any]) -> None:
    """Start some work and cancel it while it runs; it must end as cancelled."""
    task = asyncio.create_task(work)
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


class Statements:
    """SQL that is committed with its unit, or not at all."""

    async def test_a_cancelled_reading_statement_is_stopped_and_does_not_delay_others(self, store: Store) -> None:
        for _ in range(4):
            await _cancelled_soon(store.fetch(ENDLESS))

        assert list(await store.fetch(Statement("SELECT 1 AS one", {}))) == [{"one": 1}]

    async def test_statements_are_run_in_order_with_named_parameters(self, store: Store) -> None:
        await _with_notes(store)

        await write(
            store,
            appending(
                "a",
                statements=[
                    _insert("one"),
                    _insert("two", rank=None),
                    Statement("UPDATE notes SET body = :b WHERE id = :i AND :b <> ''", {"b": "ß ' ☃", "i": "one"}),
                ],
            ),
        )

        rows = await store.fetch(
            Statement("SELECT id, body, rank FROM notes WHERE id >= :from_ ORDER BY id", {"from_": ""})
        )
        assert list(rows) == [
            {"id": "one", "body": "ß ' ☃", "rank": 1},
            {"id": "two", "body": "text", "rank": None},
        ]

    async def test_a_colon_is_no_parameter_where_sql_has_none(self, store: Store) -> None:
        await _with_notes(store)

        await write(
            store,
            Changeset(
                statements=[
                    Statement(
                        "INSERT INTO notes -- not:this\n (id, body) /* nor:that */ VALUES ('a:b', 'it''s :body')", {}
                    )
                ]
            ),
        )

        (row,) = await store.fetch(Statement('SELECT id, body AS "x:y" FROM notes WHERE id = :id', {"id": "a:b"}))
        assert row == {"id": "a:b", "x:y": "it's :body"}

    async def test_the_statements_of_a_refused_unit_have_no_effect(self, store: Store) -> None:
        await _with_notes(store)

        await attempt(store, appending("a", 7, statements=[_insert("one")]))

        assert await _ids(store) == []

    async def test_a_value_that_is_there_already_is_not_unique(self, store: Store) -> None:
        await _with_notes(store)
        await write(store, Changeset(statements=[_insert("one")]))

        refusal = await attempt(store, appending("a", statements=[_insert("one")]))

        assert isinstance(refusal, NotUnique)
        assert (refusal.table, refusal.column) == ("notes", "id")
        assert await versions(store, "a") == []

    @pytest.mark.parametrize(
        "wrong",
        [
            Statement("INSERT INTO nowhere VALUES (1)", {}),
            Statement("THIS IS NO SQL", {}),
            Statement("INSERT INTO notes (id) VALUES (:id)", {"id": "no body"}),
            Statement("INSERT INTO notes (id, body) VALUES (:id, 'bad')", {"id": "checked"}),
            Statement("INSERT INTO notes (id, body) VALUES (:id, :body)", {"id": "a parameter is missing"}),
            Statement("INSERT INTO notes (id, body, rank) VALUES ('a', 'b', :rank)", {"rank": 2**70}),
            Statement("INSERT INTO notes (id, body) VALUES ('a', :body)", {"body": object()}),
            Statement("DELETE FROM notes; DELETE FROM notes", {}),
        ],
        ids=["no table", "no sql", "not null", "check", "missing parameter", "too large", "no value", "two at once"],
    )
    async def test_a_failing_statement_harms_no_neighbour(self, store: Store, wrong: Statement) -> None:
        await _with_notes(store)

        outcomes = await store.write(
            [
                appending("a", statements=[_insert("one")]),
                appending("b", statements=[_insert("two"), wrong]),
                appending("c", statements=[_insert("three")]),
            ]
        )

        assert numbers(outcomes) == [True, False, True]
        assert isinstance(outcomes[1], StatementFailed)
        assert [await versions(store, name) for name in "abc"] == [[1], [], [1]]
        assert await _ids(store) == ["one", "three"]

    async def test_a_wrong_reading_statement_says_so(self, store: Store) -> None:
        with pytest.raises(StatementFailed):
            await store.fetch(Statement("SELECT * FROM nowhere", {}))

    async def test_a_reading_statement_changes_nothing(self, store: Store) -> None:
        await _with_notes(store)
        await write(store, Changeset(statements=[_insert("one")]))

        with pytest.raises(StatementFailed):
            await store.fetch(Statement("DELETE FROM notes RETURNING id", {}))

        assert await _ids(store) == ["one"]


class InteractiveTransactions:
    """Real transactions: all or nothing, and never a false success."""

    async def test_it_commits_when_its_block_ends_well(self, store: Store, second_store: Store) -> None:
        await _with_notes(store)

        async with store.transaction("read committed") as transaction:
            assert await transaction.execute(_insert("one")) == 1
            assert await transaction.execute(Statement("UPDATE notes SET rank = 2", {})) == 1
            assert await transaction.execute(Statement("DELETE FROM notes WHERE id = 'nobody'", {})) == 0

        assert await _ids(second_store) == ["one"]

    async def test_a_statement_that_changes_no_rows_says_so(self, store: Store) -> None:
        async with store.transaction("read committed") as transaction:
            assert await transaction.execute(Statement(MAKE, {})) == 0

    async def test_it_sees_its_own_changes_and_others_do_not_yet(self, store: Store, second_store: Store) -> None:
        await _with_notes(store)

        async with store.transaction("read committed") as transaction:
            await transaction.execute(_insert("one"))
            inside = await transaction.fetch(Statement("SELECT id FROM notes WHERE rank = :rank", {"rank": 1}))
            outside = await _ids(second_store)

        assert (list(inside), outside) == ([{"id": "one"}], [])
        assert await _ids(second_store) == ["one"]

    @pytest.mark.parametrize(
        "problem",
        [ValueError("x"), KeyError("x"), OSError("disk"), TimeoutError(), asyncio.CancelledError()],
        ids=lambda problem: type(problem).__name__,
    )
    async def test_any_exception_rolls_it_back_and_comes_out_as_it_is(
        self, store: Store, problem: BaseException
    ) -> None:
        await _with_notes(store)

        with pytest.raises(type(problem)) as raised:
            async with store.transaction("read committed") as transaction:
                await transaction.execute(_insert("one"))
                await transaction.write(appending("a"))
                raise problem

        assert raised.value is problem
        assert await _ids(store) == []
        assert await versions(store, "a") == []

    async def test_cancellation_rolls_it_back(self, store: Store) -> None:
        await _with_notes(store)
        inside, never = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            async with store.transaction("read committed") as transaction:
                await transaction.execute(_insert("one"))
                inside.set()
                await never.wait()

        task = asyncio.create_task(work())
        await inside.wait()
        task.cancel()
        await asyncio.wait([task])

        assert task.cancelled()
        assert await _ids(store) == []
        assert await write(store, appending("a")) > 0

    async def test_a_statement_of_a_cancelled_transaction_is_stopped(self, store: Store) -> None:
        await _with_notes(store)

        async def work() -> None:
            async with store.transaction("read committed") as transaction:
                await transaction.execute(_insert("one"))
                await transaction.fetch(ENDLESS)

        await _cancelled_soon(work())

        async with store.transaction("read committed") as transaction:
            await transaction.execute(_insert("one"))
        assert await _ids(store) == ["one"]

    async def test_a_cancelled_beginning_leaves_nothing_behind(self, store: Store) -> None:
        await _with_notes(store)

        async def work() -> None:
            async with store.transaction("read committed") as transaction:
                await transaction.execute(_insert("never"))

        for turns in range(6):
            task = asyncio.create_task(work())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert await write(store, appending(f"after-{turns}")) > 0
            async with store.transaction("read committed") as transaction:
                await transaction.execute(_insert(f"after-{turns}"))

        assert [id for id in await _ids(store) if id != "never"] == [f"after-{n}" for n in range(6)]

    async def test_units_are_written_inside_of_it(self, store: Store) -> None:
        await _with_notes(store)

        async with store.transaction("read committed") as transaction:
            await transaction.execute(_insert("one"))
            first = await transaction.write(appending("a", 0, 2, checkpoint=("reader", 3)))
            second = await transaction.write(appending("a", 2))

        assert 0 < first < second == await store.head()
        assert (await versions(store, "a"), await store.checkpoint("reader")) == ([1, 2, 3], 3)

    async def test_a_stale_unit_inside_of_it_is_refused_and_rolls_it_back(self, store: Store) -> None:
        await _with_notes(store)
        await write(store, appending("a"))

        with pytest.raises(VersionConflict):
            async with store.transaction("read committed") as transaction:
                await transaction.execute(_insert("one"))
                await transaction.write(appending("a", 0))

        assert await _ids(store) == []
        assert await versions(store, "a") == [1]

    async def test_a_failing_statement_is_refused_inside_of_it_too(self, store: Store) -> None:
        await _with_notes(store)

        with pytest.raises(NotUnique):
            async with store.transaction("read committed") as transaction:
                await transaction.execute(_insert("one"))
                await transaction.execute(_insert("one"))
        with pytest.raises(StatementFailed):
            async with store.transaction("read committed") as transaction:
                await transaction.execute(_insert("one"))
                await transaction.fetch(Statement("SELECT * FROM nowhere", {}))

        assert await _ids(store) == []

    async def test_a_unit_with_a_value_that_does_not_fit_is_refused_alone(self, store: Store) -> None:
        await with_tables(store)

        async with store.transaction("read committed") as transaction:
            with pytest.raises(ChangesetRefused):
                await transaction.write(appending("a", rows=[person("ann", age=2**63)]))
            await transaction.write(appending("b", rows=[person("bob")]))

        assert [event.stream for event in await whole_feed(store)] == ["b"]
        assert list(await store.get_rows(PEOPLE, [("ann",), ("bob",)])) == [None, '"bob"']

    async def test_a_refusal_that_is_caught_does_not_silently_undo_the_rest(self, store: Store) -> None:
        await _with_notes(store)

        async with store.transaction("read committed") as transaction:
            await transaction.execute(_insert("one"))
            with pytest.raises(NotUnique):
                await transaction.execute(_insert("one"))

        assert await _ids(store) == ["one"]

    async def test_it_goes_on_after_a_refusal_that_is_caught(self, store: Store) -> None:
        await _with_notes(store)

        async with store.transaction("read committed") as transaction:
            await transaction.execute(_insert("one"))
            with pytest.raises(NotUnique):
                await transaction.execute(_insert("one"))
            await transaction.execute(_insert("two"))

        assert await _ids(store) == ["one", "two"]

    @pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
    async def test_every_isolation_level_writes_and_reads(self, store: Store, isolation: str) -> None:
        await _with_notes(store)

        async with store.transaction(isolation) as transaction:  # type: ignore[arg-type]
            await transaction.execute(_insert("one"))
            await transaction.write(appending("a"))

        assert (await _ids(store), await versions(store, "a")) == (["one"], [1])
