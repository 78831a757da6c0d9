"""Rows are found, counted and summed by their columns."""
# ruff: noqa: S101

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from craton.ports import (
    Changeset,
    Query,
    Range,
    RowDelete,
    Store,
    Table,
)
from craton.testing.conformance.making import (
    NOON,
    PEOPLE,
    SEATS,
    meanwhile,
    person,
    seat,
    with_tables,
    write_each,
    write_rows,
)


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
