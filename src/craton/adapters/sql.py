"""SQL that the stores share. It is composed only of names that the toolkit made; every value is a `:named`
parameter."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from craton.ports import Query, Range, Statement, StatementFailed, StoredEvent, Table, TableColumn, Timer, stored_name
from craton.ports.records import ColumnType
from craton.ports.wellformed import require_count, require_storable

SUM_RADIX = 1_000_000_000
UNLESS_THERE = "IF NOT EXISTS "
TIMER: Final = ", ".join(Timer.__struct_fields__)
"""The columns of a timer."""

_TYPES: Final[dict[ColumnType, type | tuple[type, ...]]] = {
    "text": str,
    "integer": int,
    "real": (float, int),
    "boolean": bool,
    "time": datetime,
}

# A quoted text or name, a comment, a cast, or a parameter: only the last is replaced.
_PARAMETER = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|::\w+|:([^\W\d]\w*)""", re.DOTALL)


def numbered(statement: Statement) -> tuple[str, list[Any]]:
    """Return the statement with `$1`, `$2`, … and the values in that order. Raises `StatementFailed`."""
    require_storable(statement.sql)
    values: list[Any] = []
    numbers: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return match[0]
        if name not in numbers:
            if name not in statement.parameters:
                raise StatementFailed(f"the statement has no value for its parameter :{name}")
            values.append(statement.parameters[name])
            numbers[name] = len(values)
        return f"${numbers[name]}"

    return _PARAMETER.sub(number, statement.sql), values


def placed(statement: Statement) -> tuple[str, list[Any]]:
    """Return the statement with `%s` for each parameter, and `%%` for each `%`, and the values in their order.

    Raises `StatementFailed`.
    """
    require_storable(statement.sql)
    values: list[Any] = []

    def place(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return match[0]
        if name not in statement.parameters:
            raise StatementFailed(f"the statement has no value for its parameter :{name}")
        values.append(statement.parameters[name])
        return "%s"

    return _PARAMETER.sub(place, statement.sql.replace("%", "%%")), values


def conditions(table: Table, query: Query, position: str) -> tuple[str, dict[str, Any]]:
    """Return a WHERE clause and its parameters; `position` is the database's function that finds a text in a text."""
    for name in query.order:
        _column(table, name)
    parameters: dict[str, Any] = {}
    clauses: list[str] = []

    def value(given: Any) -> str:
        name = f"p{len(parameters)}"
        parameters[name] = given
        return f":{name}"

    for name, wanted in query.where.items():
        column = quoted(name)
        bounds = (wanted.start, wanted.end) if isinstance(wanted, Range) else (wanted,)
        require_fit(table.name, [_column(table, name)] * len(bounds), bounds)
        if isinstance(wanted, Range):
            if wanted.start is not None:
                clauses.append(f"{column} >= {value(wanted.start)}")
            if wanted.end is not None:
                clauses.append(f"{column} < {value(wanted.end)}")
        else:
            clauses.append(f"{column} = {value(wanted)}")
    for name, text in query.contains.items():
        require_fit(table.name, [_column(table, name)], [text])
        clauses.append(f"{position}({quoted(name)}, {value(text)}) > 0")
    return (f" WHERE {' AND '.join(clauses)}" if clauses else ""), parameters


def find(table: Table, query: Query, position: str) -> Statement:
    """Rows of a page, in order; the key breaks ties."""
    require_count(query.limit, query.offset)
    where, parameters = conditions(table, query, position)
    direction = " DESC NULLS LAST" if query.descending else " NULLS FIRST"
    order = ", ".join(
        f"{quoted(name)}{direction}" for name in dict.fromkeys((*query.order, *(column.name for column in table.key)))
    )
    parameters |= {"limit_": query.limit, "offset_": query.offset}
    return Statement(f"SELECT row FROM {table.name}{where} ORDER BY {order} LIMIT :limit_ OFFSET :offset_", parameters)


def count(table: Table, query: Query, position: str) -> Statement:
    where, parameters = conditions(table, query, position)
    return Statement(f"SELECT count(*) AS total FROM {table.name}{where}", parameters)


def total(table: Table, column: str, by: Sequence[str], query: Query, position: str) -> Statement:
    where, parameters = conditions(table, query, position)
    for name in (column, *by):
        _column(table, name)
    grouped = ", ".join(map(quoted, by))
    columns = f"{grouped}, " if by else ""
    group = f" GROUP BY {grouped}" if by else ""
    # In two halves: a sum of 64-bit numbers may not fit into one.
    high, low = (f"coalesce(sum({quoted(column)} {operator} {SUM_RADIX}), 0)" for operator in "/%")
    return Statement(f"SELECT {columns}{high} AS high, {low} AS low FROM {table.name}{where}{group}", parameters)


def require_fit(table: str, columns: Sequence[TableColumn], values: Sequence[Any]) -> None:
    """Raise `StatementFailed` unless each value has its column's type: a driver might truncate or accept it."""
    if len(columns) != len(values):
        raise StatementFailed(f"{len(values)} values were given for {len(columns)} columns of {table}")
    for column, value in zip(columns, values, strict=True):
        if value is not None and not isinstance(value, _TYPES[column.type]):
            raise StatementFailed(f"{table}.{column.name} holds values of type {column.type}, and {value!r} is none")


def _column(table: Table, name: str) -> TableColumn:
    """The column with this name. SQLite would take the name for a text if there were none."""
    for column in table.columns:
        if column.name == name:
            return column
    raise StatementFailed(f"the table {table.name} has no column {name!r}")


def summed(row: Any) -> int:
    """The sum from the two halves that `total` selects."""
    return int(row["high"]) * SUM_RADIX + int(row["low"])


def unique_statements(table: Table, name: str, unless_there: str = "") -> list[str]:
    """The statements for a table's unique indexes; `name` is the table's name without its schema."""
    return [
        f"CREATE UNIQUE INDEX {unless_there}{_index(name, column)} ON {table.name} ({quoted(column.name)})"
        for column in table.indexes
        if column.unique
    ]


def index_statements(table: Table, name: str, nulls: str = "") -> list[str]:
    """An index for each column to search and sort by, with the key to break ties.

    `name` is the table's name without its schema, `nulls` the SQL that puts nulls first.
    """
    keys = names(table.key)
    return [
        f"CREATE INDEX IF NOT EXISTS {_index(name, column)} ON {table.name} ({quoted(column.name)}{nulls}, {keys})"
        for column in table.indexes
        if column.indexed
    ]


def _index(table: str, column: TableColumn) -> str:
    return stored_name(f"{table}_{column.name}")


def names(columns: Sequence[TableColumn]) -> str:
    return ", ".join(quoted(column.name) for column in columns)


def quoted(name: str) -> str:
    """A column's name in quotes, because it may be a word of SQL."""
    return f'"{name}"'


def event_text(event: StoredEvent) -> str:
    """An event in the form in which it is stored with its parked record."""
    return msgspec.json.encode(event).decode()


def parked_event(text: str) -> StoredEvent:
    """The event from its stored form."""
    return msgspec.json.decode(text, type=StoredEvent)
