"""What a module's own tables need of a store: statements and answers in units without events, and transactions.

The stores that keep everything in one place, and those that keep only these tables in another database, do it alike.
"""
# ruff: noqa: S101

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

import pytest
from msgspec.structs import replace

from craton.ports import (
    Changeset,
    ChangesetRefused,
    Isolation,
    KeyTaken,
    NotUnique,
    SerializationConflict,
    Statement,
    StatementFailed,
    Store,
    StoredResult,
    StoreUnavailable,
    Transaction,
)
from craton.testing.conformance.making import NOON, appending, attempt, numbers, write
from craton.testing.conformance.refusals import HALF, NUL

COLUMNS: Final = "(id VARCHAR(100) NOT NULL PRIMARY KEY, title VARCHAR(100) UNIQUE, size BIGINT CHECK (size >= 0))"
MAKE: Final = f"CREATE TABLE IF NOT EXISTS notes {COLUMNS}"
ENDLESS: Final = Statement(
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)"
    " SELECT count(*) AS c FROM n a, n b, n c, n d WHERE a.i + b.i + c.i + d.i = 0",
    {},
)
"""A statement that nobody waits for to end: it looks at 656 billion rows."""
SOON: Final = 0.1
"""Enough seconds for a statement to begin."""
AT_ONCE: Final = 3.0
"""Enough seconds for a short statement on a busy machine, and fewer than any store waits for a lock."""
HANDSHAKE: Final = 0.3
"""How long one transaction waits for the other; a store that runs one at a time lets them wait in vain."""
SPECIAL: Final = (
    "it's",
    'a "name"',
    """both ' and \"""",
    "back\\slash",
    "at the end\\",
    "\\'",
    "100%",
    "%s %(x)s %%",
    ":id :title ::text",
    "a;b -- c # d /* e */",
    "two\r\nlines\t\x1a",
    "  blanks  ",
    "ß ☃ 😀 e\u0301",
    "NULL",
    "",
)
"""Texts that a careless driver changes, or takes for SQL."""
DISTINCT: Final = ("a", "A", "a ", " a", "á", "a\u0301", "ä", "ae", "ss", "ß")
"""Texts of which a careless database takes two for one."""

_SEVERAL: Final = {
    "after a statement": "SELECT 1; DELETE FROM notes",
    "after two dashes that are a sign": "SELECT 1 --1; DELETE FROM notes",
    "after a comment that not all databases have": "SELECT 1 # it's\n; DELETE FROM notes -- '",
    "after a name in other quotes": "SELECT 1 AS `it's`; DELETE FROM notes -- '",
    "in a comment that some databases run": "SELECT 1 /*!; DELETE FROM notes */",
    "in a comment that MariaDB runs": "SELECT 1 /*M!; DELETE FROM notes */",
}


def statement(sql: str, **parameters: Any) -> Statement:
    return Statement(sql, parameters)


def insert(id: str, title: str | None = None, size: int | None = 1) -> Statement:
    return statement("INSERT INTO notes (id, title, size) VALUES (:id, :title, :size)", id=id, title=title, size=size)


def answer(key: str, *, scope: str = "ann/pay", outcome: str = '{"result":1}') -> StoredResult:
    return StoredResult(scope, key, f"request-{key}", outcome, NOON)


def unit(*statements: Statement, result: StoredResult | None = None) -> Changeset:
    return Changeset(statements=statements, result=result)


async def with_notes(store: Store, *ids: str) -> None:
    await write(store, unit(statement(MAKE)))
    await write(store, unit(*map(insert, ids)))


async def ids_of(store: Store) -> list[str]:
    return sorted([row["id"] for row in await store.fetch(statement("SELECT id FROM notes"))])


async def size_of(store: Store | Transaction, id: str) -> int:
    (row,) = await store.fetch(statement("SELECT size FROM notes WHERE id = :id", id=id))
    return int(row["size"])


async def grow(store: Store, id: str) -> None:
    """Change a row in a transaction, which waits for whatever transaction holds the row."""
    async with store.transaction("read committed") as transaction:
        await transaction.execute(statement("UPDATE notes SET size = size + 1 WHERE id = :id", id=id))


class OwnStatements:
    """Units that hold statements and nothing else."""

    async def test_a_unit_of_statements_is_seen_by_others_and_has_no_position(
        self, store: Store, second_store: Store
    ) -> None:
        await with_notes(store)

        position = await write(store, unit(insert("one"), insert("two")))

        assert position == 0
        assert await ids_of(second_store) == ["one", "two"]

    async def test_statements_are_run_in_their_order(self, store: Store) -> None:
        await with_notes(store)

        await write(
            store,
            unit(
                insert("one", size=2),
                statement("UPDATE notes SET size = size * :factor", factor=10),
                statement("UPDATE notes SET size = size + :more WHERE size > :more", more=1),
            ),
        )

        assert await size_of(store, "one") == 21

    async def test_the_units_of_a_batch_are_written_in_their_order(self, store: Store) -> None:
        await with_notes(store)
        first = unit(*(insert(f"{number}") for number in range(50)))

        outcomes = await store.write([first, unit(statement("UPDATE notes SET size = 7 WHERE id = '49'"))])

        assert numbers(outcomes) == [True, True]
        assert await size_of(store, "49") == 7

    @pytest.mark.parametrize(
        "wrong",
        [
            statement("INSERT INTO nowhere VALUES (1)"),
            statement("THIS IS NO SQL"),
            statement("INSERT INTO notes (title) VALUES ('no id')"),
            insert("checked", size=-1),
            statement("INSERT INTO notes (id) VALUES (:id)"),
            insert("large", size=2**70),
            statement("INSERT INTO notes (id) VALUES (:id)", id=object()),
            statement("DELETE FROM notes; DELETE FROM notes"),
            insert(NUL),
            statement(f"INSERT INTO notes (id) VALUES ('{NUL}')"),
            insert(HALF),
            statement(f"INSERT INTO notes (id) VALUES ('{HALF}')"),
        ],
        ids=[
            "no table",
            "no sql",
            "not null",
            "check",
            "missing parameter",
            "too large",
            "no value",
            "two at once",
            "nul",
            "nul in its sql",
            "half a pair",
            "half a pair in its sql",
        ],
    )
    async def test_a_failing_statement_undoes_its_unit_and_harms_no_neighbour(
        self, store: Store, wrong: Statement
    ) -> None:
        await with_notes(store)

        outcomes = await store.write(
            [unit(insert("before")), unit(insert("undone"), wrong, result=answer("k")), unit(insert("after"))]
        )

        assert numbers(outcomes) == [True, False, True]
        assert isinstance(outcomes[1], StatementFailed)
        assert await ids_of(store) == ["after", "before"]
        assert await store.find_result("ann/pay", "k") is None

    @pytest.mark.parametrize("sql", _SEVERAL.values(), ids=_SEVERAL.keys())
    async def test_a_second_statement_is_not_run_wherever_it_hides(self, store: Store, sql: str) -> None:
        await with_notes(store, "one")

        await attempt(store, unit(statement(sql)))
        with suppress(StatementFailed):  # a database may not have this kind of comment
            await store.fetch(statement(sql))

        assert await ids_of(store) == ["one"]

    @pytest.mark.parametrize("id", [*SPECIAL, "x' for key 'title"])
    async def test_a_value_that_is_there_already_names_the_table_and_the_column(self, store: Store, id: str) -> None:
        await with_notes(store)
        await write(store, unit(insert(id, title=f"{id}!"), insert("other")))

        same_id = await attempt(store, unit(insert(id)))
        same_title = await attempt(store, unit(insert("new", title=f"{id}!")))
        changed = await attempt(
            store, unit(statement("UPDATE notes SET title = :title WHERE id = 'other'", title=f"{id}!"))
        )

        assert [(type(refusal), getattr(refusal, "column", "")) for refusal in (same_id, same_title, changed)] == [
            (NotUnique, "id"),
            (NotUnique, "title"),
            (NotUnique, "title"),
        ]
        assert {getattr(refusal, "table", "") for refusal in (same_id, same_title, changed)} == {"notes"}
        assert await ids_of(store) == sorted([id, "other"])

    async def test_of_several_columns_the_first_is_named(self, store: Store) -> None:
        make = "CREATE TABLE seats (hall VARCHAR(20), row INTEGER, number INTEGER, UNIQUE (row, number))"
        take = statement('INSERT INTO seats (hall, "row", number) VALUES (:hall, 1, 1)', hall="A")
        await write(store, unit(statement(make.replace("row", '"row"'))))
        await write(store, unit(take))

        refusal = await attempt(store, unit(take))

        assert isinstance(refusal, NotUnique)
        assert (refusal.table, refusal.column) == ("seats", "row")

    async def test_a_comment_does_not_change_which_table_is_named(self, store: Store) -> None:
        await with_notes(store, "one")

        refusal = await attempt(store, unit(statement("INSERT /* into nothing */ INTO notes (id) VALUES ('one')")))

        assert isinstance(refusal, NotUnique)
        assert (refusal.table, refusal.column) == ("notes", "id")

    async def test_a_refused_unit_leaves_no_row_though_it_has_made_a_table_meanwhile(self, store: Store) -> None:
        await with_notes(store)

        outcome = await attempt(store, unit(insert("one"), statement(f"CREATE TABLE more {COLUMNS}"), insert("one")))

        assert isinstance(outcome, ChangesetRefused)
        assert await ids_of(store) == []

    async def test_making_a_table_again_changes_nothing(self, store: Store) -> None:
        await with_notes(store, "one")

        await with_notes(store, "two")

        assert await ids_of(store) == ["one", "two"]

    @pytest.mark.parametrize(
        "sql",
        [
            "DELETE FROM notes",
            "DELETE FROM notes RETURNING id",
            "UPDATE notes SET id = 'changed'",
            "INSERT INTO notes (id) VALUES ('more')",
            "DROP TABLE notes",
            "TRUNCATE TABLE notes",
            "ALTER TABLE notes ADD COLUMN more INTEGER",
            "CREATE TABLE more (id INTEGER)",
            "SELECT 1 FROM nowhere",
            "THIS IS NO SQL",
        ],
    )
    async def test_a_reading_statement_that_is_wrong_or_would_change_something_is_refused(
        self, store: Store, sql: str
    ) -> None:
        await with_notes(store, "one")

        with pytest.raises(StatementFailed):
            await store.fetch(statement(sql))

        assert list(await store.fetch(statement("SELECT * FROM notes"))) == [{"id": "one", "title": None, "size": 1}]

    async def test_a_statement_without_rows_reads_none(self, store: Store) -> None:
        await with_notes(store)

        assert list(await store.fetch(statement("SELECT id FROM notes"))) == []

    async def test_a_cancelled_reading_statement_does_not_delay_others(self, store: Store) -> None:
        await with_notes(store, "one")

        for _ in range(12):
            task = asyncio.create_task(store.fetch(ENDLESS))
            await asyncio.sleep(SOON)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()

        async with asyncio.timeout(AT_ONCE):
            assert await ids_of(store) == ["one"]


class OwnValues:
    """Values come back as they were given, and texts are equal only if they are the same."""

    @pytest.mark.parametrize("text", SPECIAL)
    async def test_a_text_given_as_a_parameter_comes_back(self, store: Store, text: str) -> None:
        await with_notes(store, "other")

        await write(store, unit(insert("a", title=text)))

        rows = await store.fetch(statement("SELECT id, title FROM notes WHERE title = :title", title=text))
        assert list(rows) == [{"id": "a", "title": text}]

    @pytest.mark.parametrize("text", SPECIAL)
    async def test_a_text_written_in_the_statement_comes_back(self, store: Store, text: str) -> None:
        await with_notes(store)
        literal = "'" + text.replace("'", "''") + "'"

        await write(
            store,
            unit(
                statement(f"INSERT INTO notes (id, title, size) VALUES ('a', {literal}, 1)"),
                statement(f"UPDATE notes SET size = :size WHERE title = {literal}", size=2),
            ),
        )

        alone = await store.fetch(statement(f"SELECT title, size FROM notes WHERE title = {literal}"))
        named = await store.fetch(statement(f"SELECT title FROM notes WHERE id = :id AND title = {literal}", id="a"))
        assert (list(alone), list(named)) == ([{"title": text, "size": 2}], [{"title": text}])

    async def test_texts_are_equal_only_if_they_are_the_same(self, store: Store) -> None:
        await with_notes(store)

        await write(store, unit(*(insert(text, title=text) for text in DISTINCT)))

        for text in DISTINCT:
            for column in ("id", "title"):
                rows = await store.fetch(statement(f"SELECT id FROM notes WHERE {column} = :text", text=text))
                assert [row["id"] for row in rows] == [text]
        counted = await store.fetch(statement("SELECT count(DISTINCT title) AS n FROM notes"))
        assert list(counted) == [{"n": len(DISTINCT)}]

    @pytest.mark.parametrize(
        "make",
        [
            "create table people {};",
            "CREATE TABLE people {}; -- those who are here",
            "CREATE TABLE people {} -- those who are here",
            "CREATE TABLE people {} /* those who are here */",
            "-- those who are here\nCREATE TABLE people {}",
            "/* those who are here */ CREATE TABLE people {}",
            "CREATE /* here */ TABLE people {}",
        ],
    )
    async def test_that_holds_however_the_statement_is_written_that_makes_the_table(
        self, store: Store, make: str
    ) -> None:
        await write(store, unit(statement(make.format(COLUMNS))))

        people = [statement("INSERT INTO people (id) VALUES (:id)", id=text) for text in DISTINCT]

        assert await attempt(store, unit(*people)) == 0

    async def test_that_holds_for_texts_that_are_in_no_column(self, store: Store) -> None:
        await with_notes(store, "one")

        same = await store.fetch(statement("SELECT id FROM notes WHERE 'a' = 'A' OR 'a' = 'a ' OR 'a' IN ('á')"))
        named = [
            await store.fetch(statement("SELECT id FROM notes WHERE :one = :two", one=one, two="a"))
            for one in DISTINCT[1:]
        ]

        assert [list(rows) for rows in (same, *named)] == [[]] * (len(DISTINCT))

    @pytest.mark.parametrize("text", [NUL, HALF])
    async def test_what_no_database_can_hold_is_refused_when_reading_too(self, store: Store, text: str) -> None:
        await with_notes(store)

        with pytest.raises(StatementFailed):
            await store.fetch(statement("SELECT id FROM notes WHERE id = :id", id=text))
        with pytest.raises(StatementFailed):
            await store.fetch(statement(f"SELECT id FROM notes WHERE id = '{text}'"))
        with pytest.raises(StatementFailed):
            await store.find_result(text, "key")
        with pytest.raises(StatementFailed):
            await store.find_result("scope", text)

    async def test_numbers_and_nothing_come_back(self, store: Store) -> None:
        await write(store, unit(statement("CREATE TABLE numbers (place INTEGER, whole BIGINT, part DOUBLE PRECISION)")))
        wholes = (0, -(2**63) + 1, 2**63 - 1, None)
        parts = (0.1 + 0.2, -1e-300, 1e300, None)
        sql = "INSERT INTO numbers VALUES (:place, :whole, :part)"

        await write(
            store,
            unit(
                *(
                    statement(sql, place=place, whole=whole, part=part)
                    for place, (whole, part) in enumerate(zip(wholes, parts, strict=True))
                )
            ),
        )

        rows = await store.fetch(statement("SELECT whole, part FROM numbers ORDER BY place"))
        assert [(row["whole"], row["part"]) for row in rows] == list(zip(wholes, parts, strict=True))


class OwnAnswers:
    """The answer to a command is kept in the unit that changes the module's own tables."""

    async def test_it_is_found_with_what_its_unit_has_changed(self, store: Store, second_store: Store) -> None:
        await with_notes(store)

        await write(store, unit(insert("one"), result=answer("k")))

        assert await second_store.find_result("ann/pay", "k") == answer("k")
        assert await ids_of(second_store) == ["one"]

    async def test_a_second_unit_with_the_key_is_refused_and_has_no_effect(self, store: Store) -> None:
        await with_notes(store)
        await write(store, unit(insert("one"), result=answer("k", outcome="first")))

        refusal = await attempt(store, unit(insert("two"), result=answer("k", outcome="second")))

        assert isinstance(refusal, KeyTaken)
        assert await ids_of(store) == ["one"]
        assert await store.find_result("ann/pay", "k") == answer("k", outcome="first")

    async def test_of_two_units_of_a_batch_the_first_gets_the_key(self, store: Store) -> None:
        await with_notes(store)
        first = [insert(f"first {number}") for number in range(50)]

        outcomes = await store.write(
            [
                unit(*first, result=answer("k", outcome="first")),
                unit(insert("second"), result=answer("k", outcome="second")),
                unit(insert("third")),
            ]
        )

        assert numbers(outcomes) == [True, False, True]
        assert isinstance(outcomes[1], KeyTaken)
        assert await store.find_result("ann/pay", "k") == answer("k", outcome="first")

    async def test_one_of_many_units_that_are_written_at_once_gets_the_key(
        self, store: Store, second_store: Store
    ) -> None:
        await with_notes(store, "one")
        more = statement("UPDATE notes SET size = size + 1")

        outcomes = await asyncio.gather(
            *(attempt((store, second_store)[number % 2], unit(more, result=answer("k"))) for number in range(20))
        )

        assert numbers(outcomes).count(True) == 1
        assert all(isinstance(outcome, int | KeyTaken) for outcome in outcomes)
        assert await size_of(store, "one") == 2

    async def test_keys_are_the_same_only_if_scope_and_text_are(self, store: Store) -> None:
        keys = [("s", key) for key in (*DISTINCT, *SPECIAL)] + [("S", "a"), ("s ", "a"), ("sa", ""), ("", "sa")]

        outcomes = await store.write([unit(result=answer(key, scope=scope)) for scope, key in keys])

        assert numbers(outcomes) == [True] * len(keys)
        assert [await store.find_result(*key) for key in keys] == [answer(key, scope=scope) for scope, key in keys]
        assert await store.find_result("s", "unheard of") is None

    async def test_those_of_units_with_events_are_found_beside_them(self, store: Store) -> None:
        await write(store, unit(result=answer("without")))

        position = await write(store, appending("a", result=answer("with events")))

        assert await store.find_result("ann/pay", "with events") == replace(answer("with events"), position=position)
        assert await store.find_result("ann/pay", "without") == answer("without")

    @pytest.mark.parametrize("limit", [1, 2, 7, 100])
    async def test_old_ones_are_forgotten_page_by_page(self, store: Store, limit: int) -> None:
        old, new, spared = ([f"{kind} {number}" for number in range(5)] for kind in ("old", "new", "§spared"))
        for key in old + new + spared:
            result = replace(answer(key), time=NOON + timedelta(hours=2 * (key in new)))
            await write(store, appending(key, result=result) if key.endswith("0") else unit(result=result))

        place: tuple[str, str] | None = ("", "")
        pages = 0
        while place is not None and pages < 40:
            place = await store.forget_results(NOON + timedelta(hours=1), place, limit, "§")
            pages += 1

        assert place is None
        left = [key for key in old + new + spared if await store.find_result("ann/pay", key)]
        assert left == new + spared

    async def test_a_key_whose_answer_is_forgotten_may_be_used_again(self, store: Store) -> None:
        await with_notes(store)
        await write(store, unit(insert("one"), result=answer("k")))
        await store.forget_results(NOON + timedelta(hours=1), ("", ""), 10, "§")

        await write(store, unit(insert("two"), result=answer("k", outcome="second")))

        assert await ids_of(store) == ["one", "two"]
        assert await store.find_result("ann/pay", "k") == answer("k", outcome="second")


class OwnTransactions:
    """Interactive transactions on the module's own tables: all or nothing, and never a false success."""

    async def test_it_commits_with_its_answer_when_its_block_ends_well(self, store: Store, second_store: Store) -> None:
        await with_notes(store)

        async with store.transaction("read committed") as transaction:
            await transaction.execute(insert("one"))
            inside = await transaction.fetch(statement("SELECT id FROM notes"))
            outside = await ids_of(second_store)
            position = await transaction.write(unit(insert("two"), result=answer("k")))

        assert (list(inside), outside, position) == ([{"id": "one"}], [], 0)
        assert await ids_of(second_store) == ["one", "two"]
        assert await second_store.find_result("ann/pay", "k") == answer("k")

    @pytest.mark.parametrize(
        "problem",
        [ValueError("x"), KeyError("x"), OSError("disk"), TimeoutError(), asyncio.CancelledError()],
        ids=lambda problem: type(problem).__name__,
    )
    async def test_any_exception_rolls_it_back_and_comes_out_as_it_is(
        self, store: Store, problem: BaseException
    ) -> None:
        await with_notes(store)

        with pytest.raises(type(problem)) as raised:
            async with store.transaction("read committed") as transaction:
                await transaction.execute(insert("one"))
                await transaction.write(unit(insert("two"), result=answer("k")))
                raise problem

        assert raised.value is problem
        assert await ids_of(store) == []
        assert await store.find_result("ann/pay", "k") is None

    async def test_a_statement_says_how_many_rows_it_has_found_to_change(self, store: Store) -> None:
        await with_notes(store, "one", "two")

        async with store.transaction("read committed") as transaction:
            counts = [
                await transaction.execute(statement(sql))
                for sql in (
                    "UPDATE notes SET size = 1",
                    "UPDATE notes SET size = 2 WHERE id = 'one'",
                    "UPDATE notes SET size = 2 WHERE id = 'nobody'",
                    "DELETE FROM notes WHERE id = 'nobody'",
                    "DELETE FROM notes",
                    "INSERT INTO notes (id) VALUES ('three'), ('four'), ('five')",
                )
            ]

        assert counts == [2, 1, 0, 0, 2, 3]

    @pytest.mark.parametrize(
        ("wrong", "refusal"),
        [
            (insert("one"), NotUnique),
            (statement("INSERT INTO notes (id) SELECT 'new' UNION ALL SELECT 'one'"), NotUnique),
            (insert("checked", size=-1), StatementFailed),
            (statement("SELECT * FROM nowhere"), StatementFailed),
            (statement("INSERT INTO notes (id) VALUES (:id)"), StatementFailed),
            (insert(NUL), StatementFailed),
        ],
        ids=["not unique", "the second row isn't unique", "check", "no table", "missing parameter", "nul"],
    )
    async def test_a_refusal_that_is_caught_undoes_its_statement_alone(
        self, store: Store, wrong: Statement, refusal: type[ChangesetRefused]
    ) -> None:
        await with_notes(store)

        async with store.transaction("read committed") as transaction:
            await transaction.execute(insert("one"))
            with pytest.raises(refusal):
                await transaction.execute(wrong)
            with pytest.raises(refusal):
                await transaction.fetch(wrong)
            await transaction.execute(insert("two"))

        assert await ids_of(store) == ["one", "two"]

    @pytest.mark.parametrize(
        "refused",
        [
            unit(insert("undone"), statement("THIS IS NO SQL")),
            unit(insert("undone"), insert("undone")),
            unit(insert("undone"), result=answer("taken")),
            unit(insert("undone"), result=answer(NUL)),
        ],
        ids=["no sql", "not unique", "key taken", "nul in the key"],
    )
    async def test_a_unit_that_is_refused_is_undone_alone_and_wholly(self, store: Store, refused: Changeset) -> None:
        await with_notes(store)
        await write(store, unit(result=answer("taken")))

        async with store.transaction("read committed") as transaction:
            await transaction.execute(insert("one"))
            with pytest.raises(ChangesetRefused):
                await transaction.write(refused)
            await transaction.write(unit(insert("two"), result=answer("k")))

        assert await ids_of(store) == ["one", "two"]
        assert await store.find_result("ann/pay", "k") is not None

    @pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
    async def test_every_isolation_level_reads_and_writes(self, store: Store, isolation: Isolation) -> None:
        await with_notes(store)

        async with store.transaction(isolation) as transaction:
            await transaction.execute(insert("one"))
            assert await size_of(transaction, "one") == 1
            await transaction.write(unit(insert("two")))

        assert await ids_of(store) == ["one", "two"]

    @pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
    async def test_no_change_is_lost_that_was_decided_on_what_was_read(
        self, store: Store, second_store: Store, isolation: Isolation
    ) -> None:
        await with_notes(store, "one")

        async def work(here: Store, meet: Callable[[], Awaitable[None]]) -> None:
            async with here.transaction(isolation) as transaction:
                size = await size_of(transaction, "one")
                await meet()
                await transaction.execute(statement("UPDATE notes SET size = :size WHERE id = 'one'", size=size + 1))

        ends = await _both([store, second_store], [work, work])

        assert await size_of(store, "one") == 1 + ends.count(None)
        assert ends.count(None) >= 1
        assert all(isinstance(end, SerializationConflict) for end in ends if end is not None)

    async def test_of_two_that_wait_for_each_other_one_succeeds_and_the_other_has_no_effect_or_its_full_one(
        self, store: Store, second_store: Store
    ) -> None:
        await with_notes(store, "one", "two")

        def working(first: str, second: str, amount: int) -> _Work:
            async def work(here: Store, meet: Callable[[], Awaitable[None]]) -> None:
                change = "UPDATE notes SET size = size + :amount WHERE id = :id"
                async with here.transaction("read committed") as transaction:
                    await transaction.execute(statement(change, amount=amount, id=first))
                    await meet()
                    await transaction.execute(statement(change, amount=amount, id=second))

            return work

        ends = await _both([store, second_store], [working("one", "two", 10), working("two", "one", 100)])

        assert all(isinstance(end, SerializationConflict) for end in ends if end is not None)
        assert ends.count(None) >= 1
        expected = 1 + sum(amount for amount, end in zip((10, 100), ends, strict=True) if end is None)
        assert [await size_of(store, id) for id in ("one", "two")] == [expected, expected]

    async def test_a_conflict_that_is_caught_does_not_undo_the_first_half_silently(
        self, store: Store, second_store: Store
    ) -> None:
        await with_notes(store, "one", "two")

        def working(first: str, second: str) -> _Work:
            async def work(here: Store, meet: Callable[[], Awaitable[None]]) -> None:
                async with here.transaction("read committed") as transaction:
                    await transaction.execute(insert(f"{first}, {second}"))
                    await transaction.execute(statement("UPDATE notes SET size = 2 WHERE id = :id", id=first))
                    await meet()
                    try:
                        await transaction.execute(statement("UPDATE notes SET size = 3 WHERE id = :id", id=second))
                    except SerializationConflict:
                        await transaction.execute(insert(f"{first}, after all"))

            return work

        ends = await _both([store, second_store], [working("one", "two"), working("two", "one")])

        there = await ids_of(store)
        for first, second, end in (("one", "two", ends[0]), ("two", "one", ends[1])):
            assert (f"{first}, {second}" in there) == (end is None)
            assert f"{first}, after all" not in there or end is None

    async def test_a_cancelled_statement_is_stopped_and_its_locks_are_freed(
        self, store: Store, second_store: Store
    ) -> None:
        await with_notes(store, "one")

        async def work() -> None:
            async with store.transaction("read committed") as transaction:
                await transaction.execute(statement("UPDATE notes SET size = 7"))
                await transaction.fetch(ENDLESS)

        for _ in range(3):
            task = asyncio.create_task(work())
            await asyncio.sleep(SOON)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            async with asyncio.timeout(AT_ONCE):
                await grow(second_store, "one")
                await grow(store, "one")

        assert await size_of(store, "one") == 7

    async def test_a_transaction_that_goes_on_after_a_cancelled_statement_commits_all_or_nothing(
        self, store: Store, second_store: Store
    ) -> None:
        await with_notes(store, "one")
        committed = False

        with suppress(ChangesetRefused, StoreUnavailable):
            async with store.transaction("read committed") as transaction:
                await transaction.execute(statement("UPDATE notes SET size = 7"))
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(SOON):
                        await transaction.fetch(ENDLESS)
                await transaction.execute(insert("two"))
            committed = True

        async with asyncio.timeout(AT_ONCE):
            await grow(second_store, "one")
        assert await size_of(store, "one") == (8 if committed else 2)
        assert await ids_of(store) == (["one", "two"] if committed else ["one"])

    async def test_a_cancelled_beginning_leaves_nothing_behind(self, store: Store) -> None:
        await with_notes(store)

        async def work() -> None:
            async with store.transaction("read committed") as transaction:
                await transaction.execute(insert("never"))
                raise ValueError

        for turns in range(40):
            task = asyncio.create_task(work())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])

        async with asyncio.timeout(AT_ONCE):
            await asyncio.gather(*(write(store, unit(insert(f"{number}"))) for number in range(12)))
        assert len(await ids_of(store)) == 12


class OwnCrowds:
    """More at once than a store has connections."""

    async def test_all_units_of_a_crowd_are_written(self, store: Store, second_store: Store) -> None:
        await with_notes(store, "one")
        more = statement("UPDATE notes SET size = size + 1 WHERE id = 'one'")
        units = [unit(insert(f"{number}"), more, result=answer(f"{number}")) for number in range(60)]

        batch = await store.write(units[:20])
        alone = await asyncio.gather(
            *(attempt((store, second_store)[number % 2], each) for number, each in enumerate(units[20:]))
        )

        assert numbers([*batch, *alone]) == [True] * 60
        assert await size_of(store, "one") == 61
        assert len(await ids_of(store)) == 61

    async def test_all_transactions_of_a_crowd_are_committed(self, store: Store, second_store: Store) -> None:
        await with_notes(store, "one")

        await asyncio.gather(*(grow((store, second_store)[number % 2], "one") for number in range(40)))

        assert await size_of(store, "one") == 41

    async def test_a_crowd_that_reads_is_answered(self, store: Store) -> None:
        await with_notes(store, "one")

        assert await asyncio.gather(*(ids_of(store) for _ in range(60))) == [["one"]] * 60


_Work = Callable[[Store, Callable[[], Awaitable[None]]], Awaitable[None]]


async def _both(stores: Sequence[Store], works: Sequence[_Work]) -> list[BaseException | None]:
    """Run two pieces of work at once, which meet in the middle if the store runs both; return how each has ended."""
    there = [asyncio.Event(), asyncio.Event()]

    def meeting(me: int) -> Callable[[], Awaitable[None]]:
        async def meet() -> None:
            there[me].set()
            waiting = asyncio.create_task(there[1 - me].wait())
            await asyncio.wait([waiting], timeout=HANDSHAKE)
            waiting.cancel()

        return meet

    works_on = zip(stores, works, strict=True)
    return await asyncio.gather(
        *(work(store, meeting(me)) for me, (store, work) in enumerate(works_on)), return_exceptions=True
    )
