"""Rows of read models: written, folded, found, added up."""
# ruff: noqa: S101

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, get_args

import pytest

from craton.ports import (
    INLINE,
    Changeset,
    ChangesetRefused,
    Document,
    DocumentChanged,
    Isolation,
    NotUnique,
    Outcome,
    Query,
    Range,
    RowDelete,
    RowFold,
    RowOperation,
    RowPut,
    Statement,
    Store,
    StoredEvent,
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
    append,
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

    async def test_a_table_is_made_and_dropped_as_often_as_one_likes(self, store: Store) -> None:
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
    """Tables that a unit makes, as it records what they are for."""

    async def test_a_table_is_there_with_the_commit(self, store: Store) -> None:
        await write(store, appending("a", tables=[PEOPLE, SEATS], indexes=[PEOPLE], documents=[Document("d", 1, "{}")]))

        await write_rows(store, person("ann", email="a@example.org"), seat("A", 1))

        assert list(await store.get_rows(PEOPLE, [("ann",)])) == ['"ann"']
        taken = await attempt(store, Changeset(rows=[person("bob", email="a@example.org")]))
        assert isinstance(taken, NotUnique)
        await store.create_indexes(PEOPLE)
        await store.create_indexes(SEATS)

    async def test_a_table_that_is_there_is_not_adopted(self, store: Store, second_store: Store) -> None:
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


class LiveInlineProjections:
    """What events are appended for: the set of live inline projections, by the revision of its document."""

    async def _replace(self, store: Store, revision: int) -> Outcome:
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

    async def test_a_value_that_was_given_up_is_free_again(self, store: Store) -> None:
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


class Finding:
    async def _find(self, store: Store, table: Table = PEOPLE, **query: Any) -> list[str]:
        rows, _ = await store.find_rows(table, Query(**query))
        return [row.strip('"') for row in rows]

    async def test_rows_are_found_by_a_column_of_each_type(self, store: Store) -> None:
        await with_tables(store)
        later = NOON + timedelta(hours=1)
        await write_rows(
            store,
            person("ann", email="a@example.org", age=30, weight=61.5, active=True, joined=NOON),
            person("bob", email="b@example.org", age=40, weight=80.25, active=False, joined=later),
        )

        for where in (
            {"id": "bob"},
            {"email": "b@example.org"},
            {"age": 40},
            {"weight": 80.25},
            {"active": False},
            {"joined": later},
            {"age": 40, "active": False},
        ):
            assert await self._find(store, where=where) == ["bob"], where
        assert await self._find(store, where={"age": 40, "active": True}) == []

    async def test_a_range_includes_its_start_and_excludes_its_end(self, store: Store) -> None:
        await with_tables(store)
        days = [NOON + timedelta(days=n) for n in range(4)]
        await write_rows(store, *(person(f"p{n}", age=n, joined=day, weight=n / 2) for n, day in enumerate(days)))

        for where in ({"age": Range(1, 3)}, {"joined": Range(days[1], days[3])}, {"weight": Range(0.5, 1.5)}):
            assert await self._find(store, where=where) == ["p1", "p2"], where
        assert await self._find(store, where={"age": Range(start=2)}) == ["p2", "p3"]
        assert await self._find(store, where={"age": Range(end=2)}) == ["p0", "p1"]
        assert await self._find(store, where={"age": Range()}) == ["p0", "p1", "p2", "p3"]
        assert await self._find(store, where={"id": Range("p1", "p2")}) == ["p1"]

    async def test_part_of_a_text_is_found_as_it_was_folded(self, store: Store) -> None:
        await with_tables(store)
        names = {"ann": "Straße am Öresund", "bob": "ÖRE", "cid": "Ore 100%_x", "dan": "Ω ΑΣΦΑΛΗΣ"}
        await write_rows(store, *(person(id, name=name.casefold()) for id, name in names.items()))

        async def found(part: str) -> list[str]:
            return await self._find(store, contains={"name": part.casefold()})

        assert await found("öre") == ["ann", "bob"]
        assert await found("STRASSE") == ["ann"]
        assert await found("%_") == ["cid"]
        assert await found("ασφαλής"[:4]) == ["dan"]
        assert await found("nowhere") == []

    async def test_several_parts_and_conditions_must_all_be_met(self, store: Store) -> None:
        await with_tables(store)
        await write_rows(store, person("ann", name="ann lee", age=1), person("bob", name="bob lee", age=1))

        assert await self._find(store, where={"age": 1}, contains={"name": "lee"}) == ["ann", "bob"]
        assert await self._find(store, where={"age": 1}, contains={"name": "bob"}) == ["bob"]

    async def test_rows_come_in_the_order_of_a_column_and_the_key_breaks_ties(self, store: Store) -> None:
        await with_tables(store)
        await write_rows(store, person("a", age=2), person("b", age=1), person("c", age=2), person("d", age=3))

        assert await self._find(store, order=("age",)) == ["b", "a", "c", "d"]
        assert await self._find(store, order=("age",), descending=True) == ["d", "c", "a", "b"]
        assert await self._find(store) == ["a", "b", "c", "d"]
        assert await self._find(store, descending=True) == ["d", "c", "b", "a"]

    async def test_times_come_in_the_order_of_instants_whatever_their_zone(self, store: Store) -> None:
        await with_tables(store)
        times = {
            "b": "2026-01-01T12:00:00+00:00",
            "a": "2026-01-01T12:30:00+02:00",
            "c": "2026-01-01T12:00:00.000001+00:00",
        }
        await write_rows(store, *(person(id, joined=datetime.fromisoformat(time)) for id, time in times.items()))

        assert await self._find(store, order=("joined",)) == ["a", "b", "c"]

    async def test_texts_come_in_the_order_of_their_code_points(self, store: Store) -> None:
        await with_tables(store)
        ids = ["Z", "a", "ab", "b", "é", "ﬀ", "𝒳"]  # noqa: RUF001
        await write_rows(store, *(person(id) for id in reversed(ids)))

        assert await self._find(store) == ids

    async def test_rows_without_a_value_come_first_or_last_the_same_everywhere(self, store: Store) -> None:
        await with_tables(store)
        await write_rows(store, person("a", age=None), person("b", age=-5), person("c", age=7, joined=None))

        assert await self._find(store, order=("age",)) == ["a", "b", "c"]
        assert await self._find(store, order=("age",), descending=True) == ["c", "b", "a"]

    async def test_compound_keys_are_ordered_part_by_part(self, store: Store) -> None:
        await with_tables(store)
        await write_rows(store, seat("B", 1), seat("A", 10), seat("A", 9))

        assert await self._find(store, SEATS) == ["A9", "A10", "B1"]
        assert await self._find(store, SEATS, descending=True) == ["B1", "A10", "A9"]

    async def test_a_list_is_read_in_pages_and_its_length_is_told(self, store: Store) -> None:
        await with_tables(store)
        await write_rows(store, *(person(f"p{n}", age=n // 4) for n in range(8)))

        pages = [await store.find_rows(PEOPLE, Query(where={"age": 1}, limit=3, offset=offset)) for offset in (0, 3, 6)]

        assert [list(rows) for rows, _ in pages] == [['"p4"', '"p5"', '"p6"'], ['"p7"'], []]
        assert [total for _, total in pages] == [4, 4, 4]

    async def test_a_page_and_the_total_are_of_one_moment(self, store: Store, second_store: Store) -> None:
        await with_tables(store)
        none = Changeset(rows=[RowDelete(PEOPLE, (f"p{n}",)) for n in range(3)])
        some = Changeset(rows=[person(f"p{n}") for n in range(3)])

        async with meanwhile(write_each(second_store, [some, none] * 75)) as writing:
            while not writing.done():
                rows, total = await store.find_rows(PEOPLE, Query(limit=5))
                assert len(rows) == total

    async def test_a_page_beyond_the_last_has_the_total(self, store: Store) -> None:
        await with_tables(store)
        await write_rows(store, person("ann", age=1), person("bob", age=1), person("cid", age=2))

        rows, total = await store.find_rows(PEOPLE, Query(where={"age": 1}, limit=5, offset=5))

        assert (list(rows), total) == ([], 2)


class Summing:
    async def test_a_column_is_added_up_in_groups(self, store: Store) -> None:
        await with_tables(store)
        await write_rows(store, seat("A", 1, 10), seat("A", 2, 15), seat("B", 1, 7))

        assert await store.sum_rows(SEATS, "price", ["hall"], Query()) == {("A",): 25, ("B",): 7}
        assert await store.sum_rows(SEATS, "price", [], Query()) == {(): 32}
        assert await store.sum_rows(SEATS, "price", ["hall"], Query(where={"number": 1})) == {("A",): 10, ("B",): 7}
        assert await store.sum_rows(SEATS, "price", ["hall"], Query(where={"price": Range(end=10)})) == {("B",): 7}

    async def test_the_sum_of_nothing_is_zero_and_has_no_groups(self, store: Store) -> None:
        await with_tables(store)

        assert await store.sum_rows(SEATS, "price", [], Query()) == {(): 0}
        assert await store.sum_rows(SEATS, "price", ["hall"], Query()) == {}

    async def test_sums_are_whole_numbers_however_large(self, store: Store) -> None:
        await with_tables(store)
        await write_rows(store, seat("A", 1, 2**62 - 1), seat("A", 2, 3), seat("A", 3, -(2**61)))

        (total,) = (await store.sum_rows(SEATS, "price", [], Query())).values()

        assert type(total) is int
        assert total == 2**62 + 2 - 2**61

    @pytest.mark.parametrize(
        ("column", "values"),
        [("active", (False, True)), ("joined", (NOON, NOON + timedelta(days=1))), ("weight", (0.5, 1.5))],
    )
    async def test_groups_are_named_by_values_of_the_columns_own_type(
        self, store: Store, column: str, values: Sequence[Any]
    ) -> None:
        await with_tables(store)
        await write_rows(store, *(person(f"p{n}", age=n, **{column: value}) for n, value in enumerate(values, 1)))

        assert await store.sum_rows(PEOPLE, "age", [column], Query()) == {(values[0],): 1, (values[1],): 2}


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
