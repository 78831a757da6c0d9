"""A store whose module's own tables are in MariaDB.

The tables, and the answers of the commands that change them, are written in one MariaDB transaction, so that a command
that is repeated under its key runs once. All the rest, such as timers and the progress of readers, stays in the store
around which this one is built; one unit can't change both.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import msgspec

from craton.adapters.mariadb.database import MariaConnection, MariaDatabase
from craton.ports import (
    Changeset,
    ChangesetRefused,
    Isolation,
    KeyTaken,
    NotUnique,
    Statement,
    StatementFailed,
    Store,
    StoredResult,
    StoreUnavailable,
    WriteOutcome,
)
from craton.ports.crash import crash_point
from craton.ports.wellformed import require_count, require_storable, require_well_formed

RESULTS: Final = "craton_results"
"""The table of answers. They are found by a digest, because keys may be longer than MariaDB's indexes allow."""
_OWN: Final = frozenset(("statements", "result"))
_MAKE: Final = (
    f"CREATE TABLE IF NOT EXISTS {RESULTS} (id CHAR(64) PRIMARY KEY, scope TEXT NOT NULL, result_key TEXT NOT NULL,"
    " fingerprint TEXT NOT NULL, outcome LONGTEXT NOT NULL, time DATETIME(6) NOT NULL)"
)


class MariaDbTables:
    """The store `base`, but for its module's own tables, which are in the database at `url` (`mysql://…`).

    Raises `WiringError` for a URL that doesn't fit.
    """

    def __init__(self, base: Store, url: str) -> None:
        self._base = base
        self._database = MariaDatabase(url)

    def __getattr__(self, name: str) -> Any:
        """All that isn't about the module's own tables is the store's."""
        return getattr(self._base, name)

    async def open(self, *, upgrade: bool = True) -> None:
        await self._base.open(upgrade=upgrade)
        try:
            async with self._database.transaction() as connection:
                await connection.execute(Statement(_MAKE, {}), alone=True)
        except BaseException as problem:
            await self.close()
            if isinstance(problem, ChangesetRefused):
                raise StoreUnavailable(f"MariaDB can't be used: {problem}.", maybe_executed=False) from problem
            raise

    async def close(self) -> None:
        await self._database.close()
        await self._base.close()

    async def ping(self) -> None:
        await self._base.ping()
        async with self._database.reading() as connection:
            await connection.run("SELECT 1")

    async def fetch(self, statement: Statement) -> Sequence[dict[str, Any]]:
        async with self._database.reading() as connection:
            return await connection.fetch(statement)

    async def write(self, units: Sequence[Changeset]) -> Sequence[WriteOutcome]:
        outcomes: dict[int, WriteOutcome] = {}
        rest: dict[int, Changeset] = {}
        for place, unit in enumerate(units):  # in their order, so that the first of two with one key gets it
            if _is_own(unit):
                outcomes[place] = await self._alone(unit)
            elif unit.statements:
                outcomes[place] = StatementFailed(
                    "a unit can't hold SQL for MariaDB together with events, timers or other changes of the module's "
                    "store"
                )
            else:
                rest[place] = unit
        outcomes |= zip(rest, await self._written_in_base([*rest.values()]), strict=True)
        return [outcomes[place] for place in range(len(units))]

    async def _written_in_base(self, units: Sequence[Changeset]) -> Sequence[WriteOutcome]:
        """Write units into the other store. If that fails, the units in MariaDB are written nevertheless."""
        if not units:
            return []
        try:
            return await self._base.write(units)
        except StoreUnavailable as problem:
            return [problem] * len(units)

    async def _alone(self, unit: Changeset) -> WriteOutcome:
        """Write a unit in a transaction of its own."""
        try:
            async with self._database.transaction() as connection:
                position = await _write(connection, unit, alone=True)
        except (ChangesetRefused, StoreUnavailable) as problem:
            return problem
        crash_point("commit.durable")
        return position

    @asynccontextmanager
    async def transaction(self, isolation: Isolation) -> AsyncIterator["MariaTransaction"]:
        async with self._database.transaction(isolation) as connection:
            yield MariaTransaction(connection)
            crash_point("commit.written")
        crash_point("commit.durable")

    async def find_result(self, scope: str, key: str) -> StoredResult | None:
        found = await self.fetch(
            Statement(
                f"SELECT scope, result_key, fingerprint, outcome, time FROM {RESULTS} WHERE id = :id",
                {"id": _digest(scope, key)},
            )
        )
        return StoredResult(*found[0].values()) if found else await self._base.find_result(scope, key)

    async def forget_results(
        self, before: datetime, after: tuple[str, str], limit: int, spared: str
    ) -> tuple[str, str] | None:
        """The answers in MariaDB are looked at first, by their digests (`after` is `("", digest)`), then the others."""
        require_count(limit)
        scope, last = after
        if scope:
            return await self._base.forget_results(before, after, limit, spared)
        async with self._database.transaction() as connection:
            seen = await connection.fetch(
                Statement(
                    f"SELECT id, result_key, time FROM {RESULTS} WHERE id > :after ORDER BY id LIMIT :limit",
                    {"after": last, "limit": limit},
                )
            )
            for row in seen:
                if row["time"] < before and not row["result_key"].startswith(spared):
                    await connection.execute(
                        Statement(
                            f"DELETE FROM {RESULTS} WHERE id = :id AND time < :before",
                            {"id": row["id"], "before": before},
                        )
                    )
        if seen and len(seen) == limit:
            return "", seen[-1]["id"]
        return await self._base.forget_results(before, ("", ""), limit, spared)


class MariaTransaction:
    """An interactive transaction on the module's own tables."""

    def __init__(self, connection: MariaConnection) -> None:
        self._connection = connection

    async def execute(self, statement: Statement) -> int:
        return await self._connection.execute(statement)

    async def fetch(self, statement: Statement) -> Sequence[dict[str, Any]]:
        return await self._connection.fetch(statement)

    async def write(self, unit: Changeset) -> int:
        if not _is_own(unit):
            raise StatementFailed(
                "a transaction on MariaDB can't hold events, timers or other changes of the module's store"
            )
        return await _write(self._connection, unit)


def _is_own(unit: Changeset) -> bool:
    """Whether a unit changes nothing but the module's own tables and the answers."""
    others = (value for name, value in msgspec.structs.asdict(unit).items() if name not in _OWN)
    return all(value is None or value in ((), []) for value in others)


async def _write(connection: MariaConnection, unit: Changeset, *, alone: bool = False) -> int:
    """Write a unit; the position of its last event is 0, because it has none. `alone`: the transaction holds no
    other."""
    require_well_formed(unit)
    if len(unit.statements) == 1 and unit.result is None:
        await connection.execute(unit.statements[0], alone=alone)
    elif unit.statements or unit.result:
        async with connection.savepoint():
            await _write_parts(connection, unit)
    crash_point("commit.written")
    return 0


async def _write_parts(connection: MariaConnection, unit: Changeset) -> None:
    for statement in unit.statements:
        await connection.execute(statement)
    result = unit.result
    if result is not None:
        values = {"id": _digest(result.scope, result.key), "key": result.key} | msgspec.structs.asdict(result)
        try:
            await connection.execute(
                Statement(
                    f"INSERT INTO {RESULTS} (id, scope, result_key, fingerprint, outcome, time)"
                    " VALUES (:id, :scope, :key, :fingerprint, :outcome, :time)",
                    values,
                )
            )
        except NotUnique as problem:
            raise KeyTaken("the key was used by another unit") from problem


def _digest(scope: str, key: str) -> str:
    require_storable(scope + key)
    return hashlib.sha256(msgspec.json.encode([scope, key])).hexdigest()
