"""Read models: rows, where they are kept, and how they are asked for."""

import copy
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from enum import Enum
from functools import partial
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Generic, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints
from unicodedata import normalize

import msgspec

from craton.application.codec import decoder, encode_to_keep, shape
from craton.application.errors import MisuseError, WiringError
from craton.application.page import Page, Paging
from craton.domain.immutability import is_immutable
from craton.domain.immutable import Immutable
from craton.ports import (
    Query,
    Range,
    RowDelete,
    RowFold,
    RowOperation,
    RowPut,
    StoredRow,
    Table,
    TableColumn,
    Tables,
    stored_name,
)
from craton.ports.records import MAX_NAME_BYTES, ColumnType
from craton.ports.wellformed import storable

T = TypeVar("T")
R = TypeVar("R", bound="Row")


class _Mark(msgspec.Struct, frozen=True):
    role: str


Key = Annotated[T, _Mark("key")]
"""A field by which a row is found; several make a compound key, in their order."""
Index = Annotated[T, _Mark("index")]
"""A field to search and sort by."""
Column = Annotated[T, _Mark("column")]
"""A field to filter by and to add up, without an index of its own."""
Unique = Annotated[T, _Mark("unique")]
"""An indexed field in which no two rows are alike; a violation refuses the unit of work (inline projections)."""

Search = Annotated[T, _Mark("search")]
"""A text of which parts are searched for, upper and lower case alike."""


class Row(Immutable):
    """A row of a read model: `class BalanceRow(Row): account: Key[AccountId]; owner: Index[str]; …`"""


_COLUMN_TYPES: Final[tuple[tuple[type, ColumnType], ...]] = (
    (bool, "boolean"),
    (int, "integer"),
    (float, "real"),
    (datetime, "time"),
    (str, "text"),
)


_GENERATION_BYTES: Final = 7
"""So many bytes of a table's name are left to the number of its generation."""

_KEY_TYPES: Final[dict[ColumnType, tuple[type, ...]]] = {name: (kind,) for kind, name in _COLUMN_TYPES} | {
    "real": (float, int)
}


class RowType(Generic[R]):
    """What a row class says about its table."""

    def __init__(self, row: type[R]) -> None:
        self.row = row
        self.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", row.__name__.removesuffix("Row")).lower()
        marks: dict[str, list[TableColumn]] = {role: [] for role in ("key", "index", "column", "unique", "search")}
        for name, hint in get_type_hints(row, include_extras=True).items():
            for mark in getattr(hint, "__metadata__", ()):
                if isinstance(mark, _Mark):
                    column_type = _column_type(row, name, get_args(hint)[0])
                    if mark.role == "search" and column_type != "text":
                        raise WiringError(f"{row.__name__}.{name} can't be searched: it is no text")
                    marks[mark.role].append(
                        TableColumn(
                            name,
                            column_type,
                            unique=mark.role == "unique",
                            search=mark.role == "search",
                            indexed=mark.role == "index",
                        )
                    )
        if not marks["key"]:
            raise WiringError(f"{row.__name__} has no key: annotate a field as Key[…]")
        self.key = tuple(marks["key"])
        self.indexes = tuple(marks["index"] + marks["column"] + marks["unique"] + marks["search"])
        _require_column_names(row, [column.name for column in self.key + self.indexes])
        self.columns = {column.name: column for column in self.key + self.indexes}
        self.decode: Callable[[str], R] = decoder(row).decode
        self.shape = shape(row)
        self.never_changes = is_immutable(row)
        self._keyed = tuple(column.name for column in self.key)
        self._indexed = tuple(column.name for column in self.indexes)
        self._searched = tuple(place for place, column in enumerate(self.indexes) if column.search)
        self._tables: dict[int, Table] = {}

    def table(self, generation: int) -> Table:
        """The table of one generation of the read model."""
        table = self._tables.get(generation)
        if table is None:
            base = stored_name(f"view_{self.name}", MAX_NAME_BYTES - _GENERATION_BYTES)
            table = Table(f"{base}_{generation}", self.key, self.indexes)
            self._tables[generation] = table
        return table

    def stored(self, row: R) -> StoredRow:
        """The row as it is stored. Raises `NotStorable`."""
        indexed = [_plain(getattr(row, name)) for name in self._indexed]
        for place in self._searched:
            indexed[place] = _folded(indexed[place])
        kept = encode_to_keep(row, self.row, f"a {self.row.__name__}").decode()
        return StoredRow(self.key_of(row), tuple(indexed), kept)

    def own(self, row: R) -> R:
        """A row that is kept for others too, as one that its reader may change."""
        return row if self.never_changes else copy.deepcopy(row)

    def key_of(self, row: R) -> tuple[Any, ...]:
        return tuple([_plain(getattr(row, name)) for name in self._keyed])

    def require_types(self, keys: Iterable[tuple[Any, ...]]) -> None:
        """Raise `MisuseError` for keys of other types than their columns: stores disagree in what equals what."""
        for key in keys:
            for column, part in zip(self.key, key, strict=True):
                naive = isinstance(part, datetime) and part.tzinfo is None
                if naive or not isinstance(part, (*_KEY_TYPES[column.type], NoneType)):
                    kind = "time with a zone" if column.type == "time" else column.type
                    raise MisuseError(f"{self.row.__name__} is found by {column.name}, a {kind}, not by {part!r}")

    def plain_key(self, key: tuple[Any, ...]) -> tuple[Any, ...]:
        """Check a key's length; return it as columns hold it. Raises `MisuseError`."""
        if len(key) != len(self.key):
            names = ", ".join(column.name for column in self.key)
            raise MisuseError(f"the key of {self.row.__name__} is ({names}); {len(key)} values were given")
        return tuple([_plain(part) for part in key])


def _require_column_names(row: type, names: Sequence[str]) -> None:
    """Raise `WiringError` when a store can't keep these columns apart."""
    known: dict[str, str] = {}
    for name in names:
        if name.casefold() == "row":
            raise WiringError(f"{row.__name__}.{name} can't be a column: that is where the row itself is kept")
        if len(name.encode()) > MAX_NAME_BYTES:
            raise WiringError(
                f"{row.__name__}.{name} can't be a column: its name has {len(name.encode())} bytes, and Postgres cuts "
                f"off what goes beyond {MAX_NAME_BYTES}. Give the field a shorter name."
            )
        if known.setdefault(name.casefold(), name) != name:
            raise WiringError(
                f"{row.__name__}: {known[name.casefold()]} and {name} can't both be columns, because SQLite takes them "
                f"for the same name. Give one of them another name."
            )


def _column_type(row: type, name: str, hint: Any) -> ColumnType:
    options = [part for part in get_args(hint) if part is not type(None)] if _is_union(hint) else [hint]
    kind = getattr(options[0], "__origin__", options[0]) if len(options) == 1 else None  # Annotated[datetime, …]
    for python_type, column_type in _COLUMN_TYPES:
        if isinstance(kind, type) and issubclass(kind, python_type):
            return column_type
    raise WiringError(f"{row.__name__}.{name} can't be a column: use a text, number, boolean or time")


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, UnionType)


def _folded(text: str) -> str:
    """As it is searched: upper and lower case alike, and an accent alike whether it is a letter's part or its own."""
    return text.casefold() if text.isascii() else normalize("NFC", normalize("NFC", text).casefold())


def _plain(value: Any) -> Any:
    """A value as databases know it: no subclass of text, no enumeration."""
    kind = type(value)
    if kind is str or kind is int:
        return value
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, str) else value


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
        rows: RowType[R],
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

    async def get(self, *key: Any) -> R | None:
        """Return the row with this key, or None."""
        (row,) = await self._source.get([self._rows.plain_key(key)])
        return row

    async def get_all(self, keys: Iterable[Any]) -> dict[Any, R]:
        """Return the rows with these keys, by key, as far as there are any. The key must be a single column."""
        wanted = list(dict.fromkeys(keys))
        plain = [self._rows.plain_key((key,)) for key in wanted]
        rows = await self._source.get(plain) if plain else []
        return {key: row for key, row in zip(wanted, rows, strict=True) if row is not None}

    async def find(
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
            {self._searched(name): _folded(text) for name, text in (contains or {}).items() if text},
            (self._column(column).name,) if column else (),
            descending=order.startswith("-") or not order,
            limit=paging.page_size,
            offset=paging.offset,
        )
        rows, total = await self._source.find(query)
        return Page.of(rows, total, paging)

    async def sum(self, column: str, *, by: tuple[str, ...] = (), **where: Any) -> dict[tuple[Any, ...], int]:
        """Add a whole-number column up over the rows that meet the conditions, grouped by other columns."""
        if self._column(column).type != "integer":
            raise MisuseError(f"{self._rows.row.__name__}.{column} is no whole number")
        grouping = [self._column(name).name for name in by]
        return await self._source.sum(column, grouping, Query(self._conditions(where)))

    def _conditions(self, where: dict[str, Any]) -> dict[str, Any]:
        return {
            self._column(name).name: Range(_plain(value.start), _plain(value.end))
            if isinstance(value, Range)
            else _plain(value)
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


class Rows(Generic[R]):
    """The rows that a projection keeps. It only says what is to become of them; they are read and written in bulk."""

    def __init__(self, rows: RowType[R], said: list["RowChange"]) -> None:
        self._rows = rows
        self._said = said

    def put(self, row: R) -> None:
        """Write a row, whether or not there was one with its key."""
        self._said.append(RowChange(self._rows, self._rows.key_of(row), lambda _: row, blind=True))

    def put_new(self, row: R) -> None:
        """Write a row unless there is one with its key."""
        self._said.append(RowChange(self._rows, self._rows.key_of(row), lambda old: row if old is None else old))

    def change(self, *key: Any, change: Callable[[R], R]) -> None:
        """Replace the row with this key by what `change` makes of it. The event is parked if there is none."""
        self._said.append(RowChange(self._rows, self._rows.plain_key(key), change, needed=True))

    def delete(self, *key: Any) -> None:
        """Remove the row with this key, if there is one."""
        self._said.append(RowChange(self._rows, self._rows.plain_key(key), lambda _: None, blind=True))


class RowChange:
    """One thing that a projection has said: what the row with a key becomes, None being no row.

    `blind`: the outcome doesn't depend on the row that was there; `needed`: there must be one.
    """

    __slots__ = ("_change", "_needed", "blind", "key", "rows")

    def __init__(
        self,
        rows: RowType[Any],
        key: tuple[Any, ...],
        change: Callable[[Any], Any],
        *,
        blind: bool = False,
        needed: bool = False,
    ) -> None:
        self.rows = rows
        self.key = key
        self.blind = blind
        self._change = change
        self._needed = needed

    def fold(self, old: Any) -> Any:
        """Return the new row. Raises `LookupError` when there was none and one is needed."""
        if old is None and self._needed:
            raise LookupError(f"there is no {self.rows.row.__name__} with the key {self.key}")
        return self._change(None if old is None else self.rows.own(old))

    def in_transaction(self, generation: int) -> RowOperation:
        """The operation that folds the row inside the writing transaction (inline projections)."""
        rows = self.rows

        def fold(old: str | None) -> StoredRow | None:
            new = self.fold(None if old is None else rows.decode(old))
            return None if new is None else rows.stored(new)

        return RowFold(rows.table(generation), self.key, fold)


def operation(rows: RowType[Any], generation: int, key: tuple[Any, ...], row: Any) -> RowOperation:
    """The operation that makes `row` the row with this key, None removing it."""
    table = rows.table(generation)
    return RowDelete(table, key) if row is None else RowPut(table, rows.stored(row))
