"""Writes units. Runs in the file's one writer thread; nothing else ever writes.

A batch is one transaction, each unit in it a savepoint: a unit that is refused is rolled back alone. The transaction
is durable when `write` returns (WAL with synchronous=FULL: COMMIT waits for the disk).
"""

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from msgspec.structs import astuple

from craton.adapters.sql import TIMER, event_text, index_statements
from craton.adapters.sqlite.connection import bound, bound_by_name, time_text
from craton.adapters.sqlite.refusals import refusal
from craton.adapters.sqlite.rows import change_rows
from craton.adapters.sqlite.schema import table_statements
from craton.domain import world
from craton.ports import (
    INLINE,
    LONGEST_LEASE_SECONDS,
    Append,
    Changeset,
    ChangesetRefused,
    DocumentChanged,
    FenceLost,
    KeyTaken,
    NewEvent,
    NothingParked,
    NotUnique,
    PositionPassed,
    Statement,
    StoredEvent,
    StoreUnavailable,
    Table,
    TableTaken,
    VersionConflict,
    WriteOutcome,
)
from craton.ports.crash import crash_point
from craton.ports.wellformed import require_well_formed

T = TypeVar("T")


class Writer:
    """The writing half of a store, on one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._run = connection.execute
        self._inline: int | None = None
        """The revision of the set of live inline projections, if this transaction has read it and not changed it
        since."""

    def write(self, units: Sequence[Changeset]) -> list[WriteOutcome]:
        """Write a batch. Raises `StoreUnavailable` when nothing of it could be written."""
        outcomes: list[WriteOutcome] = []
        refused: set[str] = set()
        self.begin()
        try:
            for unit in units:
                stale = refused & unit.streams if refused else None
                outcomes.append(VersionConflict(min(stale)) if stale else self._write_alone(unit))
                if isinstance(outcomes[-1], ChangesetRefused):
                    refused |= unit.streams
        except BaseException as problem:
            self.rollback()
            if isinstance(problem, sqlite3.Error):
                raise StoreUnavailable(f"The database can't write: {problem}.", maybe_executed=False) from problem
            raise
        self.commit()
        return outcomes

    def _write_alone(self, unit: Changeset) -> WriteOutcome:
        self._run("SAVEPOINT unit")
        try:
            return self.write_unit(unit)
        except Exception as problem:
            refused = refusal(problem)
            if refused is None:
                raise
            self._run("ROLLBACK TO unit")
            return refused
        finally:
            if self._connection.in_transaction:
                self._run("RELEASE unit")

    def begin(self) -> None:
        self._inline = None
        try:
            self._run("BEGIN IMMEDIATE")
        except sqlite3.Error as problem:
            raise StoreUnavailable(f"The database can't be written to: {problem}.", maybe_executed=False) from problem

    def commit(self) -> None:
        crash_point("commit.written")
        try:
            self._run("COMMIT")
        except sqlite3.Error as problem:
            self.rollback()
            raise StoreUnavailable(f"The commit failed: {problem}.", maybe_executed=True) from problem
        crash_point("commit.durable")

    def rollback(self) -> None:
        if self._connection.in_transaction:
            self._run("ROLLBACK")

    def within_savepoint(self, work: Callable[[], T]) -> T:
        """Run work whose refusal undoes only this work, inside an interactive transaction."""
        self._run("SAVEPOINT work")
        try:
            return work()
        except BaseException:
            if self._connection.in_transaction:
                self._run("ROLLBACK TO work")
            raise
        finally:
            if self._connection.in_transaction:
                self._run("RELEASE work")

    def write_unit(self, unit: Changeset) -> int:
        """Write one unit inside the open transaction; return the position of its last event, 0 if it has none."""
        require_well_formed(unit)
        self._check(unit)
        end = next((event for append in reversed(unit.appends) for event in reversed(append.events)), None)
        events = [event for append in unit.appends for event in self._append(append, end)]
        crash_point("commit.events_written")
        position = events[-1].position if events else 0
        for snapshot in unit.snapshots:
            self._run(
                "INSERT INTO snapshots VALUES (?, ?, ?, ?) ON CONFLICT (stream) DO UPDATE SET"
                " version = excluded.version, fingerprint = excluded.fingerprint, state = excluded.state"
                " WHERE excluded.version > version",
                (snapshot.stream, snapshot.version, snapshot.fingerprint, snapshot.state),
            )
        if unit.rows:
            change_rows(self._connection, unit.rows)
        if unit.project:
            change_rows(self._connection, unit.project(events))
        for statement in unit.statements:
            self.execute(statement)
        self._bookkeeping(unit, position)
        return position

    def execute(self, statement: Statement) -> int:
        """Run a statement of the module's own; return the number of rows it has changed."""
        return max(0, self._run(statement.sql, bound_by_name(statement.parameters)).rowcount)

    def fetch(self, statement: Statement) -> list[dict[str, Any]]:
        """Run a statement; return its rows."""
        return fetch(self._connection, statement)

    def acquire(self, lease: str, owner: str, seconds: float) -> int | None:
        """Take or renew a lease, by the clock that runs since the machine was started and that can't be set.

        All processes of the machine share this clock. An expiry from before the last start, or from an older version of
        the toolkit (which used the wall clock), is either past or further away than any lease lasts; both count as
        expired.
        """
        now = world.monotonic()
        row = self._run(
            "INSERT INTO lease_owners VALUES (:lease, :owner, 1, :until) ON CONFLICT (name) DO UPDATE SET"
            " fence = fence + (owner <> :owner), owner = :owner, expires = :until"
            " WHERE owner = :owner OR expires NOT BETWEEN :now AND :now + :longest RETURNING fence",
            bound_by_name(
                {
                    "lease": lease,
                    "owner": owner,
                    "until": now + min(seconds, LONGEST_LEASE_SECONDS),
                    "now": now,
                    "longest": LONGEST_LEASE_SECONDS,
                }
            ),
        ).fetchone()
        return None if row is None else int(row[0])

    def forget_results(
        self, before: datetime, after: tuple[str, str], limit: int, spared: str
    ) -> tuple[str, str] | None:
        """Look at some results after a scope and key; forget those given before a time, unless their key is spared."""
        seen = self._run(
            "SELECT scope, key FROM results WHERE (scope, key) > (?, ?) ORDER BY scope, key LIMIT ?",
            bound((*after, limit)),
        ).fetchall()
        if seen:  # one statement, and so one commit
            self._run(
                "DELETE FROM results WHERE (scope, key) > (?1, ?2) AND (scope, key) <= (?3, ?4) AND time < ?5"
                " AND substr(key, 1, length(?6)) <> ?6",
                bound((*after, *seen[-1], time_text(before), spared)),
            )
        return (seen[-1][0], seen[-1][1]) if len(seen) == limit else None

    def _check(self, unit: Changeset) -> None:
        holder = "SELECT 1 FROM lease_owners WHERE name = ? AND fence = ?"
        if unit.fence and not self._run(holder, bound(astuple(unit.fence))).fetchone():
            raise FenceLost(f"the lease {unit.fence.lease} has passed to another owner")
        if unit.checkpoint_at_most:
            subscription, limit = unit.checkpoint_at_most
            row = self._run("SELECT position FROM readers WHERE subscription = ?", bound((subscription,))).fetchone()
            if row and row[0] > limit:
                raise PositionPassed(f"{subscription} is at {row[0]}, beyond {limit}")
        for stream, version in unit.guards:
            if self._version(stream) != version:
                raise VersionConflict(stream)
        if unit.inline is not None:
            if self._inline is None:
                row = self._run("SELECT revision FROM documents WHERE name = ?", (INLINE,)).fetchone()
                self._inline = row[0] if row else 0
            if self._inline != unit.inline:
                raise DocumentChanged("the set of live inline projections was changed")
        for name, revision in unit.relies_on:
            if not self._run(
                "SELECT 1 FROM documents WHERE name = ? AND revision = ?", bound((name, revision))
            ).fetchone():
                raise DocumentChanged(f"{name} was changed by another")

    def _version(self, stream: str) -> int:
        version: int | None = self._run("SELECT max(version) FROM events WHERE stream = ?", (stream,)).fetchone()[0]
        return version or 0

    def _append(self, append: Append, end: NewEvent | None) -> list[StoredEvent]:
        """Append events to one stream; `end` is the last event of their unit."""
        if self._version(append.stream) != append.expected:
            raise VersionConflict(append.stream)
        stored = []
        for event in append.events:
            position = self._run(
                "INSERT INTO events (stream, version, id, type, schema_version, data, metadata, time, last)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    event.stream,
                    event.version,
                    event.id,
                    event.type,
                    event.schema_version,
                    event.data,
                    event.metadata,
                    time_text(event.time),
                    event is end,
                ),
            ).lastrowid
            assert position is not None  # noqa: S101
            stored.append(event.at(position, last=event is end))
        return stored

    def _bookkeeping(self, unit: Changeset, position: int) -> None:
        result = unit.result
        if result is not None:
            self._insert_or(
                lambda: KeyTaken(f"the key {result.key!r} was used by another unit"),
                "INSERT INTO results VALUES (?, ?, ?, ?, ?, ?)",
                (result.scope, result.key, result.fingerprint, result.outcome, time_text(result.time), position),
            )
        for timer_id in unit.timers_done:
            if not self._run("DELETE FROM timers WHERE id = ?", bound((timer_id,))).rowcount:
                raise KeyTaken(f"timer {timer_id} has run already")
        for timer in unit.timers:
            self._run(
                f"INSERT INTO timers ({TIMER}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                bound(astuple(timer)),
            )
        if unit.checkpoint:
            self._run(
                "INSERT INTO readers VALUES (?, ?)"
                " ON CONFLICT (subscription) DO UPDATE SET position = excluded.position",
                bound(unit.checkpoint),
            )
        self._park(unit)
        if unit.exclusive:
            self._inline = None
        for document in unit.documents:
            self._replace_document(document.name, document.revision, document.body)
        for table in unit.tables:
            self._make(table)
        for table in unit.indexes:
            for statement in index_statements(table, table.name):
                self._run(statement)
        if unit.head_at_most is not None:
            head = self._run("SELECT coalesce(max(position), 0) FROM events").fetchone()[0]
            if head > unit.head_at_most:
                raise PositionPassed(f"the log is at {head}, beyond {unit.head_at_most}")

    def _park(self, unit: Changeset) -> None:
        """Write the events that a subscription has parked, and the requests of operators."""
        for parked in unit.parked:
            event = None if parked.event is None else event_text(parked.event)
            changed = self._run(
                "UPDATE parked_events SET error = ?, attempts = ?, operator_request ="
                " CASE WHEN operator_request = 'drop' THEN 'drop' ELSE ? END WHERE subscription = ? AND position = ?",
                bound((parked.error, parked.attempts, parked.operator_request, parked.subscription, parked.position)),
            ).rowcount
            if not changed:
                self._run(
                    "INSERT INTO parked_events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", bound((*astuple(parked)[:7], event))
                )
        for asked in unit.operator_requests:
            if not self._run(
                "UPDATE parked_events SET operator_request = ?"
                " WHERE subscription = ? AND position = ? AND operator_request <> 'dropped'",
                bound((asked.request, asked.subscription, asked.position)),
            ).rowcount:
                raise NothingParked(asked.subscription, asked.position)
        for unparked in unit.unparked:
            self._run("DELETE FROM parked_events WHERE subscription = ? AND position = ?", bound(unparked))
        for dropped in unit.dropped:
            self._run(
                "UPDATE parked_events SET operator_request = 'dropped' WHERE subscription = ? AND position = ?",
                bound(dropped),
            )

    def _make(self, table: Table) -> None:
        try:
            for statement in table_statements(table):
                self._run(statement)
        except sqlite3.OperationalError as problem:
            if "already exists" in str(problem):
                raise TableTaken(f"there is a table {table.name} already") from problem
            raise

    def _replace_document(self, name: str, revision: int, body: str) -> None:
        def changed() -> ChangesetRefused:
            return DocumentChanged(f"{name} was changed by another")

        if revision == 1:
            self._insert_or(changed, "INSERT INTO documents VALUES (?, 1, ?)", bound((name, body)))
        elif not self._run(
            "UPDATE documents SET revision = ?, body = ? WHERE name = ? AND revision = ?",
            bound((revision, body, name, revision - 1)),
        ).rowcount:
            raise changed()

    def _insert_or(self, taken: Callable[[], ChangesetRefused], sql: str, values: tuple[Any, ...]) -> None:
        try:
            self._run(sql, values)
        except sqlite3.IntegrityError as problem:
            if isinstance(refusal(problem), NotUnique):
                raise taken() from problem
            raise


def fetch(connection: sqlite3.Connection, statement: Statement) -> list[dict[str, Any]]:
    """Run a statement; return its rows by column name."""
    cursor = connection.execute(statement.sql, bound_by_name(statement.parameters))
    rows = cursor.fetchall()
    columns = [column[0] for column in cursor.description or ()]
    return [dict(zip(columns, row, strict=True)) for row in rows]
