"""Rows of read models: written, folded, found, added up."""
# ruff: noqa: S101

import asyncio

import pytest

from craton.ports import (
    Changeset,
    Document,
    NotUnique,
    Query,
    Range,
    RowDelete,
    RowFold,
    RowPut,
    Store,
    StoredRow,
    Table,
    TableColumn,
    TableTaken,
    stored_name,
)
from craton.testing.conformance.making import (
    NOON,
    PEOPLE,
    SEATS,
    appending,
    attempt,
    meanwhile,
    numbers,
    person,
    person_row,
    seat,
    versions,
    with_tables,
    write,
    write_each,
    write_rows,
)


class RowWriting:
    async def test_a_row_is_put_replaced_and_deleted(self, store: Store) -> None:
        await with_tables(store)

        await write_rows(store, person("ann", row="one"))
        assert list(await store.get_rows(PEOPLE, [("ann",)])) == ["one"]
        await write_rows(store, person("ann", age=31, row="two"))
        assert list(await store.get_rows(PEOPLE, [("ann",)])) == ["two"]
        await write_rows(store, RowDelete(PEOPLE, ("ann",)), RowDelete(PEOPLE, ("nobody",)))
        assert list(await store.get_rows(PEOPLE, [("ann",)])) == [None]

    async def test_columns_may_be_called_by_words_of_sql(self, store: Store) -> None:
        words = Table(
            "view_words_1",
            (TableColumn("order", "text"), TableColumn("n", "integer")),
            (
                TableColumn("group", "text", indexed=True),
                TableColumn("user", "text", unique=True),
                TableColumn("from", "integer"),
                TableColumn("select", "text", search=True),
            ),
        )
        await with_tables(store, words)
        row = StoredRow(("a", 1), ("g", "u", 7, "words"), "one")

        await write_rows(store, RowPut(words, row), RowPut(words, row))
        await write_rows(store, RowFold(words, ("a", 1), lambda old: StoredRow(row.key, row.indexed, f"{old} again")))

        asked = Query(where={"group": "g", "from": Range(7, 8)}, contains={"select": "ord"}, order=("group",))
        assert (await store.find_rows(words, asked))[0] == ["one again"]
        assert list(await store.get_rows(words, [("a", 1)])) == ["one again"]
        assert await store.sum_rows(words, "from", ["order", "user"], asked) == {("a", "u"): 7}
        taken = await attempt(store, Changeset(rows=[RowPut(words, StoredRow(("b", 2), row.indexed, "two"))]))
        assert isinstance(taken, NotUnique)
        assert taken.column == "user"
        await write_rows(store, RowDelete(words, ("a", 1)))
        assert list(await store.get_rows(words, [("a", 1)])) == [None]

    async def test_many_rows_of_several_tables_are_written_in_one_unit(self, store: Store) -> None:
        await with_tables(store)

        await write_rows(
            store, *(person(f"p{n:03}") for n in range(200)), *(seat("A", n) for n in range(200)), seat("B", 7)
        )

        assert (await store.find_rows(PEOPLE, Query(limit=1)))[1] == 200
        assert (await store.find_rows(SEATS, Query(limit=1)))[1] == 201

    async def test_rows_are_found_by_compound_keys_each_in_its_place(self, store: Store) -> None:
        await with_tables(store)
        await write_rows(store, seat("A", 1), seat("A", 2), seat("B", 1))

        rows = await store.get_rows(SEATS, [("B", 1), ("B", 2), ("A", 1), ("B", 1)])

        assert list(rows) == ['"B1"', None, '"A1"', '"B1"']

    async def test_to_ask_for_no_rows_gives_none(self, store: Store) -> None:
        await with_tables(store)

        assert list(await store.get_rows(SEATS, [])) == []

    async def test_a_key_may_hold_a_time(self, store: Store) -> None:
        table = Table("view_hours_1", (TableColumn("at", "time"), TableColumn("open", "boolean")), ())
        await with_tables(store, table)
        key = (NOON, True)

        await write_rows(store, RowFold(table, key, lambda old: StoredRow(key, (), (old or "") + "x")))
        await write_rows(store, RowFold(table, key, lambda old: StoredRow(key, (), (old or "") + "y")))

        assert list(await store.get_rows(table, [key, (NOON, False)])) == ["xy", None]

    async def test_a_fold_starts_from_nothing_or_from_the_row_that_is_there(self, store: Store) -> None:
        await with_tables(store)
        seen: list[str | None] = []

        def counted(old: str | None) -> StoredRow:
            seen.append(old)
            return person_row("ann", row=str(int(old or 0) + 1))

        await write_rows(store, RowFold(PEOPLE, ("ann",), counted))
        await write_rows(store, RowFold(PEOPLE, ("ann",), counted), RowFold(PEOPLE, ("ann",), counted))

        assert seen == [None, "1", "2"]
        assert list(await store.get_rows(PEOPLE, [("ann",)])) == ["3"]

    async def test_a_fold_that_gives_nothing_deletes_the_row(self, store: Store) -> None:
        await with_tables(store)
        await write_rows(store, person("ann"))

        await write_rows(store, RowFold(PEOPLE, ("ann",), lambda _: None), RowFold(PEOPLE, ("bob",), lambda _: None))

        assert list(await store.get_rows(PEOPLE, [("ann",), ("bob",)])) == [None, None]

    async def test_the_operations_of_a_unit_follow_on_each_other(self, store: Store) -> None:
        await with_tables(store)
        before: list[str | None] = []

        def note(old: str | None) -> StoredRow:
            before.append(old)
            return person_row("ann", row="folded")

        await write_rows(
            store,
            person("ann", row="put"),
            RowFold(PEOPLE, ("ann",), note),
            RowDelete(PEOPLE, ("ann",)),
            RowFold(PEOPLE, ("ann",), note),
        )

        assert before == ["put", None]
        assert list(await store.get_rows(PEOPLE, [("ann",)])) == ["folded"]

    async def test_the_units_of_a_batch_follow_on_each_other(self, store: Store) -> None:
        await with_tables(store)

        def longer(old: str | None) -> StoredRow:
            return person_row("ann", row=(old or "") + "x")

        await store.write([Changeset(rows=[RowFold(PEOPLE, ("ann",), longer)]) for _ in range(5)])

        assert list(await store.get_rows(PEOPLE, [("ann",)])) == ["xxxxx"]

    async def test_the_rows_of_a_refused_unit_are_not_written(self, store: Store) -> None:
        await with_tables(store)

        await attempt(store, appending("a", 9, rows=[person("ann")]))

        assert list(await store.get_rows(PEOPLE, [("ann",)])) == [None]

    async def test_a_fold_that_fails_harms_no_neighbour(self, store: Store) -> None:
        await with_tables(store)

        def fail(_: str | None) -> StoredRow:
            raise LookupError("there is no such row")

        outcomes = await store.write(
            [appending("a"), appending("b", rows=[RowFold(PEOPLE, ("ann",), fail)]), appending("c")]
        )

        assert numbers(outcomes) == [True, False, True]
        assert [await versions(store, name) for name in "abc"] == [[1], [], [1]]

    async def test_a_table_can_be_made_and_dropped_repeatedly(self, store: Store) -> None:
        await with_tables(store, SEATS)
        await write_rows(store, seat("A", 1))

        await with_tables(store, SEATS)
        assert list(await store.get_rows(SEATS, [("A", 1)])) == ['"A1"']

        await store.drop_table(SEATS.name)
        await store.drop_table(SEATS.name)
        await with_tables(store, SEATS)
        assert list(await store.get_rows(SEATS, [("A", 1)])) == [None]

    async def test_several_may_make_the_same_table_at_once(self, store: Store, second_store: Store) -> None:
        tables = [Table(f"view_many_{n}", PEOPLE.key, PEOPLE.indexes) for n in range(8)]

        await asyncio.gather(*(with_tables(s, table) for table in tables for s in (store, second_store) * 2))

        for table in tables:
            assert list(await store.get_rows(table, [("ann",)])) == [None]

    async def test_rows_that_are_read_together_are_of_one_moment(self, store: Store, second_store: Store) -> None:
        await with_tables(store)
        keys = [(f"p{n:03}",) for n in range(200)]
        old, new = (Changeset(rows=[person(key, row=row) for (key,) in keys]) for row in ("old", "new"))
        await write(store, old)

        async with meanwhile(write_each(second_store, [new, old] * 40)) as writing:
            while not writing.done():
                assert len(set(await store.get_rows(PEOPLE, keys))) == 1


class MakingTables:
    """Tables that a unit creates in the commit that records their purpose."""

    async def test_a_table_is_there_with_the_commit(self, store: Store) -> None:
        await write(store, appending("a", tables=[PEOPLE, SEATS], indexes=[PEOPLE], documents=[Document("d", 1, "{}")]))

        await write_rows(store, person("ann", email="a@example.org"), seat("A", 1))

        assert list(await store.get_rows(PEOPLE, [("ann",)])) == ['"ann"']
        taken = await attempt(store, Changeset(rows=[person("bob", email="a@example.org")]))
        assert isinstance(taken, NotUnique)
        await store.create_indexes(PEOPLE)
        await store.create_indexes(SEATS)

    async def test_a_table_that_exists_refuses_the_unit(self, store: Store, second_store: Store) -> None:
        await with_tables(store)
        await write_rows(store, seat("A", 1))

        refusal = await attempt(second_store, appending("a", tables=[SEATS], documents=[Document("d", 1, "{}")]))

        assert isinstance(refusal, TableTaken)
        assert list(await store.get_rows(SEATS, [("A", 1)])) == ['"A1"']
        assert await store.document("d") is None
        assert await versions(store, "a") == []

    async def test_a_refused_unit_makes_no_table(self, store: Store) -> None:
        await attempt(store, Changeset(tables=[SEATS], documents=[Document("d", 2, "{}")]))

        await write(store, Changeset(tables=[SEATS]))

    async def test_of_two_that_make_the_same_table_one_has_made_it(self, store: Store, second_store: Store) -> None:
        outcomes = await asyncio.gather(
            *(
                attempt(one, Changeset(tables=[PEOPLE], documents=[Document(name, 1, "{}")]))
                for one, name in ((store, "one"), (second_store, "two"))
            )
        )

        assert sorted(numbers(outcomes)) == [False, True]
        assert any(isinstance(outcome, TableTaken) for outcome in outcomes)
        documents = [await store.document(name) for name in ("one", "two")]
        assert [document is not None for document in documents] == numbers(outcomes)

    async def test_long_names_that_begin_alike_are_not_the_same(self, store: Store) -> None:
        long = "view_" + "a" * 70
        tables = [
            Table(stored_name(f"{long}_{n}"), PEOPLE.key, (TableColumn("b" * 60, "text", unique=True, indexed=True),))
            for n in range(3)
        ]

        await write(store, Changeset(tables=tables, indexes=tables))
        await write_rows(store, *(RowPut(table, StoredRow(("ann",), ("x",), table.name)) for table in tables))

        for table in tables:
            assert list(await store.get_rows(table, [("ann",)])) == [table.name]


class UniqueColumns:
    async def test_a_second_row_with_the_value_is_refused_with_the_columns_name(self, store: Store) -> None:
        await with_tables(store)
        await write_rows(store, person("ann", email="a@example.org"))

        refusal = await attempt(store, Changeset(rows=[person("bob", email="a@example.org")]))

        assert isinstance(refusal, NotUnique)
        assert (refusal.table, refusal.column) == (PEOPLE.name, "email")
        assert list(await store.get_rows(PEOPLE, [("ann",), ("bob",)])) == ['"ann"', None]

    async def test_its_neighbours_are_unharmed(self, store: Store) -> None:
        await with_tables(store)

        outcomes = await store.write(
            [
                appending("a", rows=[person("ann", email="a@example.org")]),
                appending("b", rows=[person("bob", email="a@example.org")]),
                appending("c", rows=[person("cid")]),
            ]
        )

        assert numbers(outcomes) == [True, False, True]
        assert isinstance(outcomes[1], NotUnique)
        assert [await versions(store, name) for name in "abc"] == [[1], [], [1]]

    async def test_a_row_may_keep_its_own_value(self, store: Store) -> None:
        await with_tables(store)
        await write_rows(store, person("ann", email="a@example.org"))

        await write_rows(store, person("ann", email="a@example.org", row="again"))

        assert list(await store.get_rows(PEOPLE, [("ann",)])) == ["again"]

    async def test_a_value_that_was_removed_can_be_used_again(self, store: Store) -> None:
        await with_tables(store)
        await write_rows(store, person("ann", email="a@example.org"))

        await write_rows(store, RowDelete(PEOPLE, ("ann",)), person("bob", email="a@example.org"))

        assert list(await store.get_rows(PEOPLE, [("ann",), ("bob",)])) == [None, '"bob"']

    @pytest.mark.parametrize(("giver", "taker"), [("ann", "bob"), ("bob", "ann")])
    async def test_a_value_passes_from_one_row_to_another_in_one_unit(
        self, store: Store, giver: str, taker: str
    ) -> None:
        await with_tables(store)
        await write_rows(store, person(giver, email="a@example.org"))

        await write_rows(store, person(giver, email="new@example.org"), person(taker, email="a@example.org"))

        rows, _ = await store.find_rows(PEOPLE, Query(where={"email": "a@example.org"}))
        assert list(rows) == [f'"{taker}"']
