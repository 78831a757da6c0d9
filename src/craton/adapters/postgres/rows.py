"""Writes the rows of read models, in bulk."""

from collections.abc import Iterable, Sequence
from typing import Any

from craton.adapters import sql
from craton.adapters.postgres.schema import ARRAY_TYPES, MAX_LOCKS
from craton.ports import RowDelete, RowFold, RowOperation, RowPut, StoredRow, Table


class RowWriter:
    """The rows of one schema."""

    def __init__(self, schema: str) -> None:
        self._schema = schema

    async def change(self, connection: Any, operations: Sequence[RowOperation], locked: set[str]) -> None:
        """Fold the operations in memory, row by row in their order, then write the results in bulk.

        `locked` holds the names of the rows that the transaction has locked; those of this change are added to it.
        """
        rows: dict[tuple[Table, tuple[Any, ...]], StoredRow | None] = {}
        texts = await self._lock(connection, operations, locked)
        for operation in operations:
            new: StoredRow | None
            match operation:
                case RowPut(table=table, row=row):
                    key, new = row.key, row
                case RowDelete(table=table, key=key):
                    new = None
                case RowFold(table=table, key=key, fold=fold):
                    before = rows.get((table, key))
                    new = fold(before.row if before else None if (table, key) in rows else texts.get((table, key)))
            rows.pop((table, key), None)  # so that rows are written in the order of their last changes
            rows[table, key] = new
            if new is None:
                sql.require_fit(table.name, table.key, key)
            else:
                sql.require_fit(table.name, table.columns, (*new.key, *new.indexed))
        puts: dict[Table, list[StoredRow]] = {}
        gone: dict[Table, list[tuple[Any, ...]]] = {}
        for (table, key), new in rows.items():
            if new is None:
                gone.setdefault(table, []).append(key)
            else:
                puts.setdefault(table, []).append(new)
        for table, keys in gone.items():
            await self._delete(connection, table, keys)
        for table, new_rows in puts.items():
            await self._put(connection, table, new_rows)

    async def _lock(
        self, connection: Any, operations: Iterable[RowOperation], locked: set[str]
    ) -> dict[tuple[Table, tuple[Any, ...]], str]:
        wanted: dict[Table, dict[tuple[Any, ...], None]] = {}
        for operation in operations:
            if isinstance(operation, RowFold):
                sql.require_fit(operation.table.name, operation.table.key, operation.key)
                wanted.setdefault(operation.table, {})[operation.key] = None
        # A row that doesn't exist yet can't be locked, but its name can. A batch of several runs takes these locks run
        # by run, so two such batches may wait for each other. Postgres then ends one of them, which is written again.
        unlocked = {f"{table.name}/{key!r}" for table, keys in wanted.items() for key in keys} - locked
        if unlocked and len(locked) <= MAX_LOCKS:  # beyond that all are locked already
            locked |= unlocked
            await connection.execute(
                f"SELECT {self._schema}.lock_rows($1, $2)", list(unlocked), len(locked) > MAX_LOCKS
            )
        texts: dict[tuple[Table, tuple[Any, ...]], str] = {}
        for table, keys in wanted.items():
            names = sql.names(table.key)
            found = await connection.fetch(
                f"SELECT {names}, row FROM {self._schema}.{table.name}"
                f" WHERE ({names}) IN (SELECT * FROM unnest({arrays(table, len(table.key))}))"
                f" ORDER BY {names} FOR UPDATE",
                *map(list, zip(*keys, strict=True)),
            )
            for row in found:
                texts[table, tuple(row)[:-1]] = row["row"]
        return texts

    async def _put(self, connection: Any, table: Table, rows: list[StoredRow]) -> None:
        if not rows:
            return
        names = [sql.quoted(name) for name in (*(column.name for column in table.columns), "row")]
        updates = ", ".join(f"{name} = excluded.{name}" for name in names[len(table.key) :])
        await connection.execute(
            f"INSERT INTO {self._schema}.{table.name} ({', '.join(names)})"
            f" SELECT * FROM unnest({arrays(table, len(table.columns))}, ${len(names)}::text[])"
            f" ON CONFLICT ({sql.names(table.key)}) DO UPDATE SET {updates}",
            *map(list, zip(*((*row.key, *row.indexed, row.row) for row in rows), strict=True)),
        )

    async def _delete(self, connection: Any, table: Table, keys: list[tuple[Any, ...]]) -> None:
        if keys:
            await connection.execute(
                f"DELETE FROM {self._schema}.{table.name} WHERE ({sql.names(table.key)}) IN"
                f" (SELECT * FROM unnest({arrays(table, len(table.key))}))",
                *map(list, zip(*sorted(keys), strict=True)),
            )


def arrays(table: Table, count: int) -> str:
    """Array parameters for the first columns of a table, cast to their types."""
    return ", ".join(f"${n}::{ARRAY_TYPES[column.type]}" for n, column in enumerate(table.columns[:count], 1))
