"""Changes the rows of read models."""

import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import Any

from craton.adapters.sql import names, quoted, require_fit
from craton.adapters.sqlite.connection import bound
from craton.ports import RowDelete, RowFold, RowOperation, RowPut, StoredRow, Table


def change_rows(connection: sqlite3.Connection, operations: Sequence[RowOperation]) -> None:
    """Run operations in order; consecutive puts into one table are written together."""
    together: list[StoredRow] = []
    for place, operation in enumerate(operations):
        match operation:
            case RowPut(table=table, row=row):
                together.append(row)
                following = operations[place + 1] if place + 1 < len(operations) else None
                if not (isinstance(following, RowPut) and following.table is table):
                    _put(connection, table, together)
                    together = []
            case RowDelete(table=table, key=key):
                _delete(connection, table, key)
            case RowFold(table=table, key=key, fold=fold):
                require_fit(table.name, table.key, key)
                found = connection.execute(f"SELECT row FROM {table.name} WHERE {_is(table)}", bound(key)).fetchone()
                new = fold(found[0] if found else None)
                if new is None:
                    _delete(connection, table, key)
                else:
                    _put(connection, table, [new])


def _put(connection: sqlite3.Connection, table: Table, rows: Sequence[StoredRow]) -> None:
    for row in rows:
        require_fit(table.name, table.columns, (*row.key, *row.indexed))
    connection.executemany(_upsert(table), [bound((*row.key, *row.indexed, row.row)) for row in rows])


def _delete(connection: sqlite3.Connection, table: Table, key: tuple[Any, ...]) -> None:
    require_fit(table.name, table.key, key)
    connection.execute(f"DELETE FROM {table.name} WHERE {_is(table)}", bound(key))


@cache
def _upsert(table: Table) -> str:
    """An upsert. INSERT OR REPLACE would silently delete another row that has the same unique value."""
    columns = [quoted(name) for name in (*(column.name for column in table.columns), "row")]
    keys = names(table.key)
    updates = ", ".join(f"{name} = excluded.{name}" for name in columns[len(table.key) :])
    return (
        f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        f" ON CONFLICT ({keys}) DO UPDATE SET {updates}"
    )


@cache
def _is(table: Table) -> str:
    return " AND ".join(f"{quoted(column.name)} = ?" for column in table.key)
