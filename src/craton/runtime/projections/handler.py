"""Turns pages of events into rows.

A projection only says which rows change and how. For each page, all rows that it needs are read together, the changes
are applied in memory in the order of the events, and each changed row is written once. While a process owns the
subscription, no other process writes its rows, so they may be kept in memory from page to page.
"""

import traceback
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from craton.application.projection import ProjectionDefinition
from craton.application.rows import RowChange, RowDefinition, operation
from craton.application.upcasting import EventTypes
from craton.ports import RowOperation, StatementFailed, Store, StoredEvent
from craton.runtime.process.places import authors_place
from craton.runtime.projections.states import PastStates
from craton.runtime.subscriptions.feed import EventPage
from craton.runtime.subscriptions.handler import Failed, Handled

MAX_REMEMBERED_ROWS: Final = 50_000
MAX_ROWS_PER_READ: Final = 500

_UNREAD: Final = object()
"""Stands for a row that was written without having been read."""


class _Unreadable:
    """Stands for a row that can't be decoded: each change that needs it fails, and nothing else."""

    def __init__(self, problem: Exception) -> None:
        self.problem = problem


RowKey = tuple[RowDefinition[Any], tuple[Any, ...]]


class ProjectionHandler:
    """The handler of one generation of a projection."""

    def __init__(self, definition: ProjectionDefinition, store: Store, types: EventTypes, generation: int) -> None:
        self._definition = definition
        self._projection = definition.new()
        self._store = store
        self._types = types
        self._generation = generation
        self._rows: dict[RowKey, Any] = {}
        aggregate = definition.aggregate
        self._states = None if aggregate is None else PastStates(aggregate, store, types)

    def key(self, event: StoredEvent) -> str:
        return event.stream

    async def reset(self) -> None:
        self._rows.clear()
        if self._states is not None:
            self._states.forget()

    async def handle(self, page: EventPage, events: Sequence[StoredEvent]) -> Handled:
        said, failed = await self._listen(page, events)
        await self._read_missing(said)
        blocked: set[str] = set()
        changed: dict[RowKey, None] = {}
        before: dict[RowKey, Any] = {}
        for event, changes in said:
            if event.stream in blocked:
                failed.append(Failed(event, ""))
                continue
            undo: list[tuple[RowKey, Any]] = []
            try:
                for change in changes:
                    row_key = change.rows, change.key
                    row = self._rows.get(row_key, _UNREAD)
                    undo.append((row_key, row))
                    if isinstance(row, _Unreadable) and not change.blind:
                        raise row.problem
                    self._rows[row_key] = change.fold(None if row is _UNREAD else row)
            except Exception as problem:
                self._undo(undo)
                blocked.add(event.stream)
                failed.append(Failed(event, located(problem)))
            else:
                for row_key, row in undo:
                    before.setdefault(row_key, row)
                    changed.pop(row_key, None)  # so that rows are written in the order of their last changes
                    changed[row_key] = None
        forget = partial(self._undo, list(before.items()))
        try:
            rows = [self._operation(row_key) for row_key in sorted(changed, key=_by_table)]
        except StatementFailed:
            forget()
            raise
        if failed:  # a row that couldn't be decoded may be repaired before the failed events are retried
            self._rows = {key: row for key, row in self._rows.items() if not isinstance(row, _Unreadable)}
        if len(self._rows) > MAX_REMEMBERED_ROWS:
            self._rows.clear()
        if self._states is not None:
            self._rows.clear()  # its rows are made from states and are never read
            self._states.trim()
        return Handled(rows, failed, forget)

    def _undo(self, undo: list[tuple[RowKey, Any]]) -> None:
        if self._states is not None:
            self._states.forget()
        for row_key, before in reversed(undo):
            if before is _UNREAD:
                self._rows.pop(row_key, None)
            else:
                self._rows[row_key] = before

    async def _listen(
        self, page: EventPage, events: Sequence[StoredEvent]
    ) -> tuple[list[tuple[StoredEvent, list[RowChange]]], list[Failed]]:
        """Collect the changes that the projection makes for each event."""
        concerned = [event for event in events if self.concerns(event)]
        if self._states is not None:
            await self._states.prepare(concerned)
        said: list[tuple[StoredEvent, list[RowChange]]] = []
        failed: list[Failed] = []
        blocked: set[str] = set()
        for event in concerned:
            if event.stream in blocked:
                failed.append(Failed(event, ""))
                continue
            try:
                aggregate = None if self._states is None else self._states.after(event)
                if event.type not in self._types.retired:
                    said.append((event, self._definition.changes(self._projection, page.recorded(event), aggregate)))
            except Exception as problem:
                blocked.add(event.stream)
                failed.append(Failed(event, located(problem)))
        return said, failed

    def concerns(self, event: StoredEvent) -> bool:
        """Whether the event changes rows, or the version of an aggregate's state."""
        if self._definition.concerns(event.type, event.stream):
            return True
        return self._states is not None and event.type in self._types.retired and self._states.is_of(event.stream)

    async def _read_missing(self, said: list[tuple[StoredEvent, list[RowChange]]]) -> None:
        missing: dict[RowDefinition[Any], dict[tuple[Any, ...], None]] = {}
        for _, changes in said:
            for change in changes:
                row_key = change.rows, change.key
                if not change.blind and row_key not in self._rows:
                    missing.setdefault(change.rows, {})[change.key] = None
        for row_type, wanted in missing.items():
            keys = list(wanted)
            for start in range(0, len(keys), MAX_ROWS_PER_READ):
                some = keys[start : start + MAX_ROWS_PER_READ]
                found = await self._store.get_rows(row_type.table(self._generation), some)
                for key, text in zip(some, found, strict=True):
                    self._rows[row_type, key] = None if text is None else _decoded(row_type, text)

    def _operation(self, row_key: RowKey) -> RowOperation:
        row_type, key = row_key
        try:
            return operation(row_type, self._generation, key, self._rows[row_key])
        except Exception as problem:
            raise StatementFailed(describe(problem)) from problem


def _decoded(row_type: RowDefinition[Any], text: str) -> Any:
    try:
        return row_type.decode(text)
    except Exception as problem:
        return _Unreadable(problem)


def _by_table(row_key: RowKey) -> str:
    """Sorts rows by table, because the rows of a table are written together."""
    return row_key[0].name


def located(problem: Exception) -> str:
    """The description of an error, with the place in the application's own code where it was raised."""
    place = authors_place(traceback.extract_tb(problem.__traceback__))
    return f"{describe(problem)} ({place})" if place else describe(problem)


def describe(problem: Exception) -> str:
    """Describe an error for the operator, in one line that every store can keep."""
    try:
        text = str(problem)
    except Exception as worse:  # the error class is a module's own
        text = f"the error can't be shown ({type(worse).__name__})"
    line = f"{type(problem).__name__}: {text}".splitlines()[0]
    return line.replace("\0", "\ufffd").encode(errors="replace").decode()
