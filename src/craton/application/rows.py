"""Rows of read models: what a row's class says about its table, and how a projection changes rows."""

import copy
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Final, Generic, TypeVar, Union, get_args, get_origin, get_type_hints
from unicodedata import normalize

import msgspec

from craton.application.codec import decoder, encode_to_keep, shape
from craton.application.errors import MisuseError, NotStorable, RowNotFound, WiringError
from craton.application.parts import parts_of
from craton.domain import AggregateNotFound
from craton.domain.immutability import is_immutable
from craton.domain.immutable import Immutable, ImmutableMeta
from craton.ports import RowDelete, RowFold, RowOperation, RowPut, StoredRow, Table, TableColumn, stored_name
from craton.ports.records import MAX_NAME_BYTES, ColumnType

T = TypeVar("T")
R = TypeVar("R", bound="Row")


class _Mark(msgspec.Struct, frozen=True):
    role: str


_HIDDEN: Final = _Mark("hidden")

Key = Annotated[T, _Mark("key")]
"""A field by which a row is found; several make a compound key, in their order."""
Index = Annotated[T, _Mark("index")]
"""A field to search and sort by."""
Column = Annotated[T, _Mark("column")]
"""A field to filter by and to add up, without an index."""
Unique = Annotated[T, _Mark("unique")]
"""An indexed field whose value no other row may have; a violation refuses the unit of work (inline projections)."""
Search = Annotated[T, _Mark("search")]
"""A text that can be searched for parts of it, regardless of upper and lower case."""
Hidden = Annotated[T, _HIDDEN]
"""A field that the module's own code sees but callers don't: `Hidden[Index[datetime]]`."""


def _is_hidden(hint: Any) -> bool:
    if isinstance(hint, str):
        return re.search(r"\bHidden\[", hint) is not None
    return _HIDDEN in getattr(hint, "__metadata__", ())


class _RowMeta(ImmutableMeta):
    """Gives hidden fields a default that says they are missing, because callers receive rows without them."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> ImmutableMeta:
        for field, hint in namespace.get("__annotations__", {}).items():
            if _is_hidden(hint):
                namespace.setdefault(field, msgspec.UNSET)
        return super().__new__(mcs, name, bases, namespace, **options)


class Row(Immutable, metaclass=_RowMeta):
    """A row of a read model. A query may return rows as they are.

    `class Balance(Row): account: Key[AccountId]; owner: Index[str]; opened_at: Hidden[Index[datetime]]`
    """

    not_found: ClassVar[type[AggregateNotFound]] = RowNotFound
    """What `View.get` raises for a key that no row has."""


@cache
def hidden_fields(row: type[Any]) -> tuple[str, ...]:
    """The names of a row's fields that callers don't see."""
    hints = get_type_hints(row, include_extras=True)
    return tuple(name for name, hint in hints.items() if _is_hidden(hint))


def holds_hidden_fields(kind: Any) -> bool:
    """Whether values of a type hold rows with hidden fields."""
    structs = (part.cls for part in parts_of(kind) if isinstance(part, msgspec.inspect.StructType))
    plain = (getattr(struct, "__origin__", struct) for struct in structs)
    return any(issubclass(struct, Row) and hidden_fields(struct) for struct in plain)


def without_hidden_fields(value: Any) -> Any:
    """The value as callers receive it."""
    if isinstance(value, tuple | list):
        return type(value)(map(without_hidden_fields, value))
    if isinstance(value, dict):
        return {key: without_hidden_fields(part) for key, part in value.items()}
    if not isinstance(value, msgspec.Struct):
        return value
    if isinstance(value, Row):
        return msgspec.structs.replace(value, **dict.fromkeys(hidden_fields(type(value)), msgspec.UNSET))
    parts = {name: without_hidden_fields(getattr(value, name)) for name in value.__struct_fields__}
    return msgspec.structs.replace(value, **parts)


_COLUMN_TYPES: Final[tuple[tuple[type, ColumnType], ...]] = (
    (bool, "boolean"),
    (int, "integer"),
    (float, "real"),
    (datetime, "time"),
    (date, "text"),
    (str, "text"),
)
_GENERATION_BYTES: Final = 7
"""The part of a table's name that is reserved for the number of its generation, in bytes."""
_KEY_TYPES: Final[dict[ColumnType, tuple[type, ...]]] = {name: (kind,) for kind, name in _COLUMN_TYPES} | {
    "real": (float, int)
}


class RowDefinition(Generic[R]):
    """A row's class, read as the definition of its table. Raises `WiringError` when no table can hold it."""

    def __init__(self, row: type[R]) -> None:
        self.row = row
        self.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", row.__name__.removesuffix("Row")).lower()
        marks: dict[str, list[TableColumn]] = {role: [] for role in ("key", "index", "column", "unique", "search")}
        for name, hint in get_type_hints(row, include_extras=True).items():
            for mark in getattr(hint, "__metadata__", ()):
                if isinstance(mark, _Mark) and mark is not _HIDDEN:
                    marks[mark.role].append(_column(row, name, get_args(hint)[0], mark.role))
        if not marks["key"]:
            raise WiringError(f"{row.__name__} has no key: annotate a field as Key[…]")
        self.key = tuple(marks["key"])
        self.indexes = tuple(marks["index"] + marks["column"] + marks["unique"] + marks["search"])
        _require_column_names(row, [column.name for column in self.key + self.indexes])
        self.columns = {column.name: column for column in self.key + self.indexes}
        self.decode: Callable[[str], R] = decoder(row).decode
        self.shape = shape(row)
        self.never_changes = is_immutable(row)
        self._hidden = hidden_fields(row)
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
        for name in self._hidden:
            if getattr(row, name) is msgspec.UNSET:
                raise NotStorable(f"{self.row.__name__}.{name} isn't given; only callers may do without it")
        indexed = [plain_value(getattr(row, name)) for name in self._indexed]
        for place in self._searched:
            indexed[place] = folded(indexed[place])
        kept = encode_to_keep(row, self.row, f"a {self.row.__name__}").decode()
        return StoredRow(self.key_of(row), tuple(indexed), kept)

    def own(self, row: R) -> R:
        """A copy that its reader may change, of a row that is kept for other readers too."""
        return row if self.never_changes else copy.deepcopy(row)

    def key_of(self, row: R) -> tuple[Any, ...]:
        return tuple([plain_value(getattr(row, name)) for name in self._keyed])

    def require_types(self, keys: Iterable[tuple[Any, ...]]) -> None:
        """Raise `MisuseError` for a key whose types differ from its columns: stores disagree about which are equal."""
        for key in keys:
            for column, part in zip(self.key, key, strict=True):
                naive = isinstance(part, datetime) and part.tzinfo is None
                if naive or not isinstance(part, (*_KEY_TYPES[column.type], NoneType)):
                    kind = "time with a zone" if column.type == "time" else column.type
                    raise MisuseError(f"{self.row.__name__} is found by {column.name}, a {kind}, not by {part!r}")

    def plain_key(self, key: tuple[Any, ...]) -> tuple[Any, ...]:
        """Check a key's length; return it in the form in which columns hold it. Raises `MisuseError`."""
        if len(key) != len(self.key):
            names = ", ".join(column.name for column in self.key)
            raise MisuseError(f"the key of {self.row.__name__} is ({names}); {len(key)} values were given")
        return tuple([plain_value(part) for part in key])


def _column(row: type, name: str, hint: Any, role: str) -> TableColumn:
    column_type = _column_type(row, name, hint)
    if role == "search" and column_type != "text":
        raise WiringError(f"{row.__name__}.{name} can't be searched: it is no text")
    return TableColumn(name, column_type, unique=role == "unique", search=role == "search", indexed=role == "index")


def _require_column_names(row: type, names: Sequence[str]) -> None:
    """Raise `WiringError` when a store can't distinguish the names of these columns."""
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
    raise WiringError(f"{row.__name__}.{name} can't be a column: use a text, number, boolean, date or time")


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, UnionType)


def folded(text: str) -> str:
    """The text in the form in which it is searched: without case, and with accents in one form."""
    return text.casefold() if text.isascii() else normalize("NFC", normalize("NFC", text).casefold())


def plain_value(value: Any) -> Any:
    """A value as databases know it: no subclass of str, no enumeration."""
    if isinstance(value, str):
        return str.__str__(value)  # also of an enumeration of texts, whose own __str__ may give its name
    if type(value) is date:
        return value.isoformat()
    return value.value if isinstance(value, Enum) else value


class Rows(Generic[R]):
    """The rows that a projection keeps. It only collects changes; rows are read and written in bulk."""

    def __init__(self, rows: RowDefinition[R], changes: list["RowChange"]) -> None:
        self._rows = rows
        self._changes = changes

    def put(self, row: R) -> None:
        """Write a row, replacing any row with the same key."""
        self._changes.append(RowChange(self._rows, self._rows.key_of(row), lambda _: row, blind=True))

    def put_new(self, row: R) -> None:
        """Write a row unless there is already one with the same key."""
        self._changes.append(RowChange(self._rows, self._rows.key_of(row), lambda old: row if old is None else old))

    def change(self, *key: Any, **fields: Any) -> None:
        """Give fields of the row with this key new values. The event is parked if there is no such row."""
        self.fold(*key, by=lambda row: msgspec.structs.replace(row, **fields))

    def fold(self, *key: Any, by: Callable[[R], R]) -> None:
        """Replace the row with this key by the function's result. The event is parked if there is no such row."""
        self._changes.append(RowChange(self._rows, self._rows.plain_key(key), by, needed=True))

    def delete(self, *key: Any) -> None:
        """Remove the row with this key, if there is one."""
        self._changes.append(RowChange(self._rows, self._rows.plain_key(key), lambda _: None, blind=True))


class RowChange:
    """One change that a projection makes: the new row for a key, or None to remove it.

    `blind`: the new row doesn't depend on the old one; `needed`: there must be an old one.
    """

    __slots__ = ("_change", "_needed", "blind", "key", "rows")

    def __init__(
        self,
        rows: RowDefinition[Any],
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
        """Return the new row. Raises `LookupError` if there is no old row but one is needed."""
        if old is None and self._needed:
            raise LookupError(f"there is no {self.rows.row.__name__} with the key {self.key}")
        return self._change(None if old is None else self.rows.own(old))

    def in_transaction(self, generation: int) -> RowOperation:
        """The operation that changes the row inside the writing transaction (inline projections)."""
        if self.blind:
            return operation(self.rows, generation, self.key, self.fold(None))
        rows = self.rows

        def fold(old: str | None) -> StoredRow | None:
            new = self.fold(None if old is None else rows.decode(old))
            return None if new is None else rows.stored(new)

        return RowFold(rows.table(generation), self.key, fold)


def operation(rows: RowDefinition[Any], generation: int, key: tuple[Any, ...], row: Any) -> RowOperation:
    """The operation that makes `row` the row with this key; None removes it."""
    table = rows.table(generation)
    return RowDelete(table, key) if row is None else RowPut(table, rows.stored(row))
