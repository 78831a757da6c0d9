"""Writes units to Postgres, a batch in one transaction.

A batch of events, snapshots and results alone is one call of a function, one round trip. A batch that holds more is
that call and a few bulk statements, however many units it has. If a unit turns out to break a constraint, the whole
batch is rolled back and its units are written again one by one, so that a neighbour is never harmed.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

import asyncpg
from msgspec.structs import astuple

from craton.adapters import sql
from craton.adapters.postgres import batch
from craton.adapters.postgres.database import PostgresDatabase, transaction
from craton.adapters.postgres.refusals import Conflicts, Outdated, Taken, refusal
from craton.adapters.postgres.rows import RowWriter
from craton.adapters.postgres.schema import TAKEN, table_statements, within
from craton.ports import (
    Changeset,
    DocumentChanged,
    FenceLost,
    KeyTaken,
    NothingParked,
    PositionPassed,
    SerializationConflict,
    Statement,
    StoreUnavailable,
    Timer,
    VersionConflict,
    WriteOutcome,
)
from craton.ports.crash import crash_point

ATTEMPTS: Final = 5
NULLS: Final = " NULLS FIRST"
EXCLUSION_SECONDS: Final = 1
"""How long an exclusive unit waits for running appends, in seconds; new appends wait behind it."""
_EVENT_FIELDS: Final = ("stream", "version", "id", "type", "schema_version", "data", "metadata", "time")


class PostgresWriter:
    """The writing half of a store, in one schema."""

    def __init__(self, database: PostgresDatabase, schema: str, lock: int) -> None:
        self._database = database
        self._schema = schema
        self._lock = lock
        self._rows = RowWriter(schema)
        parameters = ", ".join(f"${n}" for n in range(1, 23))
        self._append = f"SELECT conflicts, positions, inline FROM {schema}.append({parameters})"

    async def write(self, units: Sequence[Changeset]) -> Sequence[WriteOutcome]:
        """Write a batch; units that conflict are left out, units that break something are found one by one."""
        outcomes: dict[int, WriteOutcome] = {}
        waiting = list(enumerate(units))
        while waiting:
            waiting = batch.without_stale(waiting, outcomes)
            try:
                positions = await self._commit([unit for _, unit in waiting])
            except Conflicts as conflicts:
                batch.refuse(waiting, conflicts.streams, outcomes)
                waiting = [(place, unit) for place, unit in waiting if place not in outcomes]
            except Outdated as outdated:
                batch.refuse_outdated(waiting, outdated, outcomes)
                waiting = [(place, unit) for place, unit in waiting if place not in outcomes]
            except Taken as taken:
                batch.refuse_taken(waiting, taken, outcomes)
                waiting = [(place, unit) for place, unit in waiting if place not in outcomes]
            except StoreUnavailable:
                raise
            except Exception as problem:
                if len(waiting) == 1:
                    outcomes[waiting[0][0]] = refusal(problem)
                else:
                    await self._write_one_by_one(waiting, outcomes)
                break
            else:
                outcomes |= zip((place for place, _ in waiting), positions, strict=True)
                break
        return [outcomes[place] for place in range(len(units))]

    async def _write_one_by_one(self, waiting: list[tuple[int, Changeset]], outcomes: dict[int, WriteOutcome]) -> None:
        """Write each unit in a transaction of its own. Units that build on a refused one are refused with it."""
        refused: set[str] = set()
        for place, unit in waiting:
            stale = refused & unit.streams
            if stale:
                outcomes[place] = VersionConflict(min(stale))
            else:
                try:
                    (outcomes[place],) = await self.write([unit])
                except StoreUnavailable as problem:
                    outcomes[place] = problem
            if not isinstance(outcomes[place], int):
                refused |= unit.streams

    async def _commit(self, units: Sequence[Changeset]) -> list[int]:
        if not units:
            return []
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._database.connection(writing=True) as connection:
                    positions = await self._write_all(connection, units)
            except SerializationConflict:
                if attempt == ATTEMPTS:
                    raise
            else:
                crash_point("commit.durable")
                return positions
        raise AssertionError("unreachable")

    async def _write_all(self, connection: Any, units: Sequence[Changeset]) -> list[int]:
        if all(unit.plain for unit in units):
            return batch.positions(units, await self._append_all(connection, units))
        async with transaction(connection):
            if any(unit.exclusive for unit in units):
                await connection.execute(f"SET LOCAL lock_timeout = '{EXCLUSION_SECONDS}s'")
                await connection.execute("SELECT pg_advisory_xact_lock($1)", self._lock)
            runs = list(batch.runs(units))
            if len(runs) > 1:  # take all locks of the batch in their order, before its first run takes its own
                await self.lock_streams(connection, set[str]().union(*(unit.streams for unit in units)))
            rows: set[str] = set()
            positions = [position for run in runs for position in await self.write_in(connection, run, rows)]
            crash_point("commit.written")
            return positions

    async def lock_streams(self, connection: Any, streams: set[str]) -> None:
        """Take the locks of all streams that a transaction will touch; a single run needs no such step."""
        await connection.execute(f"SELECT {self._schema}.lock_streams($1)", list(streams))

    async def write_in(self, connection: Any, units: Sequence[Changeset], rows: set[str]) -> list[int]:
        """Write a run of units inside an open transaction; return for each the position of its last event.

        `rows` names the rows that the transaction has already locked; those of this run are added.
        Raises `ChangesetRefused`; then the transaction must be rolled back.
        """
        drawn = await self._append_all(connection, units)
        await self._check(connection, units)  # after the streams, because their locks come before those of rows
        crash_point("commit.events_written")
        operations = list(batch.operations(units, iter(drawn)))
        if operations:
            await self._rows.change(connection, operations, rows)
        for unit in units:
            for statement in unit.statements:
                await self.execute(connection, statement)
        await self._bookkeeping(connection, units)
        return batch.positions(units, drawn)

    async def execute(self, connection: Any, statement: Statement) -> int:
        """Run a statement of the module's own; return the number of rows it has changed."""
        text, values = sql.numbered(statement)
        await connection.execute(f"SET LOCAL search_path = {self._schema}, public")
        prepared = await connection.prepare(text)  # a prepared statement can't contain a second statement
        await prepared.fetch(*values)
        count = prepared.get_statusmsg().rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def fetch(self, connection: Any, statement: Statement) -> list[dict[str, Any]]:
        """Run a statement; return its rows."""
        text, values = sql.numbered(statement)
        await connection.execute(f"SET LOCAL search_path = {self._schema}, public")
        # Connections cache statements by their text. The comment keeps the schemas apart.
        return [dict(row) for row in await connection.fetch(f"/* {self._schema} */ {text}", *values)]

    async def _append_all(self, connection: Any, units: Sequence[Changeset]) -> list[int]:
        heads = batch.heads(units)
        events = [event for unit in units for append in unit.appends for event in append.events]
        newest_last = sorted((s for unit in units for s in unit.snapshots), key=attrgetter("version"))
        snapshots = list({snapshot.stream: snapshot for snapshot in newest_last}.values())
        if not heads and not snapshots and not any(unit.result for unit in units):
            return []
        known = {unit.inline for unit in units if unit.inline is not None}
        results, last, count = [], [], 0
        ends = [False] * len(events)
        for unit in units:
            count += sum(len(append.events) for append in unit.appends)
            if count:
                ends[count - 1] = True
            if unit.result:
                results.append(unit.result)
                last.append(count if unit.appends else 0)
        try:
            row = await connection.fetchrow(
                self._append,
                list(heads),
                list(heads.values()),
                *batch.columns(events, _EVENT_FIELDS),
                *batch.columns(snapshots, ("stream", "version", "fingerprint", "state")),
                *batch.columns(results, ("scope", "key", "fingerprint", "outcome", "time")),
                last,
                ends,
                list(known),
            )
        except asyncpg.UniqueViolationError as problem:
            if problem.constraint_name != TAKEN:
                raise
            places = [int(place) - 1 for place in (problem.detail or "").split()]
            raise Taken({(results[place].scope, results[place].key) for place in places}) from problem
        if row["conflicts"]:
            raise Conflicts(set(row["conflicts"]))
        if known - {row["inline"]}:
            raise Outdated(row["inline"])
        return row["positions"] or []

    async def _check(self, connection: Any, units: Sequence[Changeset]) -> None:
        """Check what the units rely on, and lock it until the commit."""
        for unit in units:
            if unit.fence and not await connection.fetchval(
                f"SELECT true FROM {self._schema}.lease_owners WHERE name = $1 AND fence = $2 FOR SHARE",
                unit.fence.lease,
                unit.fence.number,
            ):
                raise FenceLost(f"the lease {unit.fence.lease} has passed to another owner")
            if unit.checkpoint_at_most:
                subscription, limit = unit.checkpoint_at_most
                # A missing checkpoint can't be locked, so it is created.
                position = await connection.fetchval(
                    f"INSERT INTO {self._schema}.readers AS c VALUES ($1, 0)"
                    " ON CONFLICT (subscription) DO UPDATE SET position = c.position RETURNING position",
                    subscription,
                )
                if position > limit:
                    raise PositionPassed(f"{subscription} is at {position}, beyond {limit}")
        relied_on = sorted({document for unit in units for document in unit.relies_on})
        if relied_on:
            found = await connection.fetch(
                f"SELECT name, revision FROM {self._schema}.documents WHERE (name, revision) IN"
                " (SELECT * FROM unnest($1::text[], $2::int[])) ORDER BY name FOR SHARE",
                *map(list, zip(*relied_on, strict=True)),
            )
            changed = set(relied_on) - {(row["name"], row["revision"]) for row in found}
            if changed:
                raise DocumentChanged(f"{min(changed)[0]} was changed by another")

    async def _bookkeeping(self, connection: Any, units: Sequence[Changeset]) -> None:
        schema = self._schema
        done = [timer for unit in units for timer in unit.timers_done]
        if done and await connection.execute(f"DELETE FROM {schema}.timers WHERE id = ANY($1)", done) != (
            f"DELETE {len(done)}"
        ):
            raise KeyTaken(f"timer {', '.join(done)} has run already")
        timers = [timer for unit in units for timer in unit.timers]
        if timers:
            await connection.execute(
                f"INSERT INTO {schema}.timers ({sql.TIMER}) SELECT * FROM unnest($1::text[], $2::timestamptz[],"
                " $3::text[], $4::text[], $5::text[], $6::int[], $7::int[], $8::text[], $9::boolean[])",
                *batch.columns(timers, Timer.__struct_fields__),
            )
        for unit in units:
            await self._note_progress(connection, unit)
            for document in unit.documents:
                await self._replace_document(connection, document.name, document.revision, document.body)
            await self._make_tables(connection, unit)
            if unit.head_at_most is not None:
                head = await connection.fetchval(f"SELECT coalesce(max(position), 0) FROM {schema}.events")
                if head > unit.head_at_most:
                    raise PositionPassed(f"the log is at {head}, beyond {unit.head_at_most}")

    async def _note_progress(self, connection: Any, unit: Changeset) -> None:
        """Write a subscription's progress, and the events that it has parked."""
        schema = self._schema
        if unit.checkpoint:
            await connection.execute(
                f"INSERT INTO {schema}.readers VALUES ($1, $2)"
                " ON CONFLICT (subscription) DO UPDATE SET position = excluded.position",
                *unit.checkpoint,
            )
        for parked in unit.parked:
            await connection.execute(
                f"INSERT INTO {schema}.parked_events AS p VALUES ($1, $2, $3, $4, $5, $6, $7, coalesce($8,"
                f" (SELECT event FROM {schema}.parked_events WHERE subscription = $1 AND position = $2)))"
                " ON CONFLICT (subscription, position) DO UPDATE SET error = excluded.error, attempts ="
                " excluded.attempts, operator_request = CASE WHEN p.operator_request = 'drop' THEN 'drop'"
                " ELSE excluded.operator_request END",
                *astuple(parked)[:7],
                None if parked.event is None else sql.event_text(parked.event),
            )
        for asked in unit.operator_requests:
            found = await connection.execute(
                f"UPDATE {schema}.parked_events SET operator_request = $3"
                " WHERE subscription = $1 AND position = $2 AND operator_request <> 'dropped'",
                *astuple(asked),
            )
            if found.endswith(" 0"):
                raise NothingParked(asked.subscription, asked.position)
        for subscription, position in unit.unparked:
            await connection.execute(
                f"DELETE FROM {schema}.parked_events WHERE subscription = $1 AND position = $2",
                subscription,
                position,
            )
        for subscription, position in unit.dropped:
            await connection.execute(
                f"UPDATE {schema}.parked_events SET operator_request = 'dropped'"
                " WHERE subscription = $1 AND position = $2",
                subscription,
                position,
            )

    async def _make_tables(self, connection: Any, unit: Changeset) -> None:
        statements = [
            *(s for table in unit.tables for s in table_statements(within(self._schema, table), table.name)),
            *(
                s
                for table in unit.indexes
                for s in sql.index_statements(within(self._schema, table), table.name, NULLS)
            ),
        ]
        for statement in statements:
            await connection.execute(statement)

    async def _replace_document(self, connection: Any, name: str, revision: int, body: str) -> None:
        if revision == 1:
            status = await connection.execute(
                f"INSERT INTO {self._schema}.documents VALUES ($1, 1, $2) ON CONFLICT DO NOTHING", name, body
            )
        else:
            status = await connection.execute(
                f"UPDATE {self._schema}.documents SET revision = $2, body = $3 WHERE name = $1 AND revision = $2 - 1",
                name,
                revision,
                body,
            )
        if status.endswith(" 0"):
            raise DocumentChanged(f"{name} was changed by another")
