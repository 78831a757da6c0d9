"""Turns pages of events into rows.

A projection only says what is to become of which row. For a page all rows that it needs are read together, what was
said is folded in memory in the order of the events, and each row that came out is written once. While a process owns
the subscription nobody else writes its rows, so they may be remembered from page to page.
"""

import traceback
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from craton.application.projection import Projection
from craton.application.view import RowChange, RowType, operation
from craton.ports import RowOperation, StatementFailed, Store, StoredEvent
from craton.runtime.feed import Page
from craton.runtime.places import authors_place
from craton.runtime.subscription import Failed, Handled

REMEMBERED_ROWS: Final = 50_000
READ_TOGETHER: Final = 500

_UNREAD: Final = object()
"""In the place of a row that was written without having been read."""


class _Unreadable:
    """In the place of a row that can't be decoded: what needs it fails, each time, and nothing else."""

    def __init__(self, problem: Exception) -> None:
        self.problem = problem


RowKey = tuple[RowType[Any], tuple[Any, ...]]


class Projector:
    """The handler of one generation of a projection."""

    def __init__(self, kind: type[Projection], store: Store, generation: int) -> None:
        self._projection = kind()
        self._names = set(kind.event_names)
        self._store = store
        self._generation = generation
        self._rows: dict[RowKey, Any] = {}

    def key(self, event: StoredEvent) -> str:
        return event.stream

    async def begin(self) -> None:
        self._rows.clear()

    async def handle(self, page: Page, events: Sequence[StoredEvent]) -> Handled:
        said, failed = self._listen(page, events)
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
                    changed.pop(row_key, None)  # so that rows are written in the order in which they last changed
                    changed[row_key] = None
        forget = partial(self._undo, list(before.items()))
        try:
            rows = [self._operation(row_key) for row_key in sorted(changed, key=_by_table)]
        except StatementFailed:
            forget()
            raise
        if failed:  # a row that couldn't be decoded may have been mended when what has failed is retried
            self._rows = {key: row for key, row in self._rows.items() if not isinstance(row, _Unreadable)}
        if len(self._rows) > REMEMBERED_ROWS:
            self._rows.clear()
        return Handled(rows, failed, forget)

    def _undo(self, undo: list[tuple[RowKey, Any]]) -> None:
        for row_key, before in reversed(undo):
            if before is _UNREAD:
                self._rows.pop(row_key, None)
            else:
                self._rows[row_key] = before

    def _listen(
        self, page: Page, events: Sequence[StoredEvent]
    ) -> tuple[list[tuple[StoredEvent, list[RowChange]]], list[Failed]]:
        """Let the projection say what it has to say to each event."""
        said: list[tuple[StoredEvent, list[RowChange]]] = []
        failed: list[Failed] = []
        blocked: set[str] = set()
        for event in events:
            if event.type not in self._names:
                continue
            if event.stream in blocked:
                failed.append(Failed(event, ""))
                continue
            changes = self._projection.said
            changes.clear()
            try:
                self._projection.project(page.recorded(event))
            except Exception as problem:
                blocked.add(event.stream)
                failed.append(Failed(event, located(problem)))
            else:
                said.append((event, changes.copy()))
        return said, failed

    async def _read_missing(self, said: list[tuple[StoredEvent, list[RowChange]]]) -> None:
        missing: dict[RowType[Any], dict[tuple[Any, ...], None]] = {}
        for _, changes in said:
            for change in changes:
                row_key = change.rows, change.key
                if not change.blind and row_key not in self._rows:
                    missing.setdefault(change.rows, {})[change.key] = None
        for row_type, wanted in missing.items():
            keys = list(wanted)
            for start in range(0, len(keys), READ_TOGETHER):
                some = keys[start : start + READ_TOGETHER]
                found = await self._store.get_rows(row_type.table(self._generation), some)
                for key, text in zip(some, found, strict=True):
                    self._rows[row_type, key] = None if text is None else _decoded(row_type, text)

    def _operation(self, row_key: RowKey) -> RowOperation:
        row_type, key = row_key
        try:
            return operation(row_type, self._generation, key, self._rows[row_key])
        except Exception as problem:
            raise StatementFailed(describe(problem)) from problem


def _decoded(row_type: RowType[Any], text: str) -> Any:
    try:
        return row_type.decode(text)
    except Exception as problem:
        return _Unreadable(problem)


def _by_table(row_key: RowKey) -> str:
    """Rows of one table together: they are written at once."""
    return row_key[0].name


def located(problem: Exception) -> str:
    """The same, with the place in the application's own code where it went wrong."""
    place = authors_place(traceback.extract_tb(problem.__traceback__))
    return f"{describe(problem)} ({place})" if place else describe(problem)


def describe(problem: Exception) -> str:
    """An error in one line that every store can keep, for the operator."""
    try:
        text = str(problem)
    except Exception as worse:  # it is a module's own
        text = f"it can't be shown ({type(worse).__name__})"
    line = f"{type(problem).__name__}: {text}".splitlines()[0]
    return line.replace("\0", "\ufffd").encode(errors="replace").decode()
