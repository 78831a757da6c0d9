"""Views: how the rows of a read model are asked for. They speak as repositories do."""

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
    """Where rows are kept that were looked up before. Made by the runtime."""

    async def read(
        self,
        table: str,
        keys: Sequence[tuple[Any, ...]],
        load: Callable[[Sequence[tuple[Any, ...]]], Awaitable[Sequence[Any]]],
    ) -> Sequence[Any]:
        """The rows with these keys in a table, None where there is none; `load` reads them from the store."""

    def pass_by(self) -> None:
        """Note that rows were read from the store that can't be compared with those kept here."""


class ViewSource(Generic[R]):
    """Where a view reads: the live generation of its table, waited for as the context asks. Made by the runtime."""

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
        """The rows with these keys, each in the place of its key."""
        table = await self._table()
        if self._cache is None:
            return await self._load(table, keys)
        rows = await self._cache.read(table.name, keys, partial(self._load, table))
        return rows if self.rows.never_changes else [None if row is None else self.rows.own(row) for row in rows]

    async def _load(self, table: Table, keys: Sequence[tuple[Any, ...]]) -> list[R | None]:
        self.rows.require_types(keys)
        asked = [key for key in keys if _can_be_stored(key)]
        stored = dict(zip(asked, await self._tables.get_rows(table, asked), strict=True))
        rows = (stored.get(key) for key in keys)
        return [None if row is None else self.rows.decode(row) for row in rows]

    async def find(self, query: Query) -> tuple[list[R], int]:
        """The rows of a page, and how many there are in all."""
        if not _can_be_stored((*query.where.values(), *query.contains.values())):
            return [], 0
        stored, total = await self._tables.find_rows(await self._table(), query)
        self._pass_by()
        return [self.rows.decode(row) for row in stored], total

    async def sum(self, column: str, by: Sequence[str], query: Query) -> dict[tuple[Any, ...], int]:
        """A column added up, grouped by others."""
        sums = await self._tables.sum_rows(await self._table(), column, by, query)
        self._pass_by()
        return sums

    def _pass_by(self) -> None:
        if self._cache is not None:
            self._cache.pass_by()

    async def _table(self) -> Table:
        return self.rows.table(await self._live())


def _can_be_stored(values: Iterable[Any]) -> bool:
    """Whether a row may hold these values: one that no store keeps equals nothing that is stored."""
    return all(storable(value) for value in values if isinstance(value, str))


class View(Generic[R]):
    """The queryable rows of a read model. Conditions are column names: a value, a `within(…)`, or None for any."""

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
        """Return the row with this key, or one that meets the conditions; None if there is none."""
        if where:
            found = await self.page(paging=ONE, **where)
            return found.items[0] if found.items else None
        (row,) = await self._source.get([self._rows.plain_key(key)])
        return row

    async def all(self, keys: Iterable[Any]) -> dict[Any, R]:
        """Return the rows with these keys, by key, as far as there are any. The key must be a single column."""
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

        `contains` asks for a part of a `Search[…]` text, upper and lower case alike, however letters are composed.
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
        """Go through all rows that meet the conditions, page by page. One that moves meanwhile may be passed over."""
        number = total = 1
        while number <= total:
            page = await self.page(order=order, paging=Paging(number, MAX_PAGE_SIZE), **where)
            for row in page.items:
                yield row
            number, total = number + 1, page.total_pages

    async def sum(self, column: str, *, by: tuple[str, ...] = (), **where: Any) -> dict[tuple[Any, ...], int]:
        """Add a whole-number column up over the rows that meet the conditions, grouped by other columns."""
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
