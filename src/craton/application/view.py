"""Views: the queries of a read model's rows. Their methods are named like those of repositories."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, Generic, Protocol, TypeVar

from craton.application.errors import MisuseError
from craton.application.page import MAX_PAGE_SIZE, Page, Paging
from craton.application.rows import Row, RowDefinition, folded, plain_value
from craton.ports import Query, Range, Table, TableColumn, Tables
from craton.ports.wellformed import storable

R = TypeVar("R", bound=Row)

ONE: Final = Paging(1, 1)


class Cache(Protocol):
    """Keeps rows that were looked up before. Made by the runtime."""

    async def read(
        self,
        rows: RowDefinition[Any],
        table: str,
        keys: Sequence[tuple[Any, ...]],
        load: Callable[[Sequence[tuple[Any, ...]]], Awaitable[Sequence[Any]]],
    ) -> Sequence[Any]:
        """The rows with these keys in a table, None where there is none; `load` reads them from the store."""

    def pass_by(self) -> None:
        """Note that rows were read past the cache, so that they can't be compared with the rows in it."""


class ViewSource(Generic[R]):
    """The place a view reads from: the live generation of its table, at the position the context asks for. Made by the
    runtime."""

    def __init__(
        self,
        rows: RowDefinition[R],
        tables: Tables,
        live: Callable[[], Awaitable[int]],
        cache: Cache | None = None,
    ) -> None:
        self.rows = rows
        self._tables = tables
        self._live = live
        self._cache = cache

    async def get(self, keys: Sequence[tuple[Any, ...]]) -> Sequence[R | None]:
        """The rows with these keys, in the order of the keys."""
        table = await self._table()
        if self._cache is None:
            return await self._load(table, keys)
        rows = await self._cache.read(self.rows, table.name, keys, partial(self._load, table))
        return rows if self.rows.never_changes else [None if row is None else self.rows.own(row) for row in rows]

    async def _load(self, table: Table, keys: Sequence[tuple[Any, ...]]) -> list[R | None]:
        self.rows.require_types(keys)
        asked = [key for key in keys if _can_be_stored(key)]
        stored = dict(zip(asked, await self._tables.get_rows(table, asked), strict=True))
        rows = (stored.get(key) for key in keys)
        return [None if row is None else self.rows.decode(row) for row in rows]

    async def find(self, query: Query) -> tuple[list[R], int]:
        """The rows of a page, and the number of rows on all pages."""
        if not _can_be_stored((*query.where.values(), *query.contains.values())):
            return [], 0
        stored, total = await self._tables.find_rows(await self._table(), query)
        self._pass_by()
        return [self.rows.decode(row) for row in stored], total

    async def sum(self, column: str, by: Sequence[str], query: Query) -> dict[tuple[Any, ...], int]:
        """The sum of a column, grouped by other columns."""
        sums = await self._tables.sum_rows(await self._table(), column, by, query)
        self._pass_by()
        return sums

    def _pass_by(self) -> None:
        if self._cache is not None:
            self._cache.pass_by()

    async def _table(self) -> Table:
        return self.rows.table(await self._live())


def _can_be_stored(values: Iterable[Any]) -> bool:
    """Whether a row may hold these values. A value that no store can keep equals no stored value."""
    return all(storable(value) for value in values if isinstance(value, str))


class View(Generic[R]):
    """The rows of a read model. Conditions are column names with a value, a `within(…)`, or None for any value."""

    def __init__(self, source: ViewSource[R]) -> None:
        self._source = source
        self._rows = source.rows

    async def get(self, *key: Any) -> R:
        """Return the row with this key. Raises its class's `not_found`."""
        row = await self.find(*key)
        if row is None:
            raise self._rows.row.not_found(id=", ".join(map(str, key)))
        return row

    async def find(self, *key: Any, **where: Any) -> R | None:
        """Return the row with this key, or one row that meets the conditions; None if there is none."""
        if where:
            found = await self.page(paging=ONE, **where)
            return found.items[0] if found.items else None
        (row,) = await self._source.get([self._rows.plain_key(key)])
        return row

    async def all(self, keys: Iterable[Any]) -> dict[Any, R]:
        """Return the rows with these keys, by key; missing rows are left out. The key must be a single column."""
        wanted = list(dict.fromkeys(keys))
        plain = [self._rows.plain_key((key,)) for key in wanted]
        rows = await self._source.get(plain) if plain else []
        return {key: row for key, row in zip(wanted, rows, strict=True) if row is not None}

    async def page(
        self,
        *,
        order: str = "",
        contains: dict[str, str | None] | None = None,
        paging: Paging = Paging(),
        **where: Any,
    ) -> Page[R]:
        """Return a page of the rows that meet the conditions, ordered by a column (`"-time"`: largest first).

        `contains` searches for a part of a `Search[…]` text, regardless of case and of how accents are composed.
        The default order is the key, newest first.
        """
        column = order.removeprefix("-")
        query = Query(
            self._conditions(where),
            {self._searched(name): folded(text) for name, text in (contains or {}).items() if text},
            (self._column(column).name,) if column else (),
            descending=order.startswith("-") or not order,
            limit=paging.page_size,
            offset=paging.offset,
        )
        rows, total = await self._source.find(query)
        return Page.of(rows, total, paging)

    async def each(self, *, order: str = "", **where: Any) -> AsyncIterator[R]:
        """Go through all rows that meet the conditions, page by page. A row that moves meanwhile may be missed."""
        number = total = 1
        while number <= total:
            page = await self.page(order=order, paging=Paging(number, MAX_PAGE_SIZE), **where)
            for row in page.items:
                yield row
            number, total = number + 1, page.total_pages

    async def sum(self, column: str, *, by: tuple[str, ...] = (), **where: Any) -> dict[tuple[Any, ...], int]:
        """Add up a whole-number column over the rows that meet the conditions, grouped by other columns."""
        if self._column(column).type != "integer":
            raise MisuseError(f"{self._rows.row.__name__}.{column} is no whole number")
        grouping = [self._column(name).name for name in by]
        return await self._source.sum(column, grouping, Query(self._conditions(where)))

    def _conditions(self, where: dict[str, Any]) -> dict[str, Any]:
        return {
            self._column(name).name: Range(plain_value(value.start), plain_value(value.end))
            if isinstance(value, Range)
            else plain_value(value)
            for name, value in where.items()
            if value is not None
        }

    def _searched(self, name: str) -> str:
        if not self._column(name).search:
            raise MisuseError(f"{self._rows.row.__name__}.{name} can't be searched: annotate it as Search[…]")
        return name

    def _column(self, name: str) -> TableColumn:
        try:
            return self._rows.columns[name]
        except KeyError:
            known = ", ".join(self._rows.columns)
            raise MisuseError(
                f"{self._rows.row.__name__}.{name} has no column: annotate it as Index[…] or Column[…] "
                f"(there are: {known})"
            ) from None
