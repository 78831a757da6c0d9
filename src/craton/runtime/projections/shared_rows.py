"""Rows in a cache that processes share, each with the position of the log at which it was right.

A process believes such a row only if it has itself followed the log from that position on, and no event since has
changed the row. So nothing has to be cleared in the shared cache: an old row, one that was filled while it changed, or
one that the cache kept during an outage is never believed. The position comes with the id of the event there, because
positions are used again after a store was restored from a backup.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from craton.application.codec import encode_text
from craton.application.rows import RowDefinition
from craton.ports import SharedCache, StoredEvent

WINDOW: Final = 5_000
"""So many of the newest events are remembered; what was right before them isn't believed."""
MAX_PUBLISHED: Final = 500
"""How many rows are written to the shared cache at a time; further ones are left out."""

Key = tuple[Any, ...]


class _Entry(msgspec.Struct, frozen=True):
    """What the shared cache holds of a row."""

    position: int
    event: str
    """The id of the event at this position."""
    row: str | None
    """The row as it is stored; None if there was none."""


class _Filled(msgspec.Struct, frozen=True):
    rows: RowDefinition[Any]
    table: str
    key: Key
    kept: Any


class SharedRows:
    """The rows of one projection in the shared cache. `prefix` keeps them apart from those of all others."""

    def __init__(self, cache: SharedCache, prefix: str) -> None:
        self._cache = cache
        self._prefix = prefix
        self._events: OrderedDict[int, str] = OrderedDict()
        """The ids of the newest events, by position."""
        self._changed: dict[Key, int] = {}
        """The position of the newest event that has changed the rows with a key, as far as it is remembered."""
        self._filled: list[_Filled] = []

    def begin(self) -> None:
        """Forget all, because the log is followed anew."""
        self._events.clear()
        self._changed.clear()
        self._filled.clear()

    def note(self, event: StoredEvent, keys: Iterable[Key]) -> None:
        """Remember an event, and the keys of the rows that it changes."""
        self._events[event.position] = event.id
        for key in keys:
            self._changed[key] = event.position
        if len(self._events) > WINDOW:
            self._events.popitem(last=False)
        if len(self._changed) > 4 * WINDOW:
            first = next(iter(self._events))
            self._changed = {key: position for key, position in self._changed.items() if position >= first}

    async def read(self, rows: RowDefinition[Any], table: str, keys: Sequence[Key]) -> "list[Found] | None":
        """What the shared cache holds under these keys, to be asked whether it is right; None if it lacks one."""
        texts = await self._cache.get([self._name(table, key) for key in keys])
        found = [self._found(rows, key, text) for key, text in zip(keys, texts, strict=True) if text is not None]
        return found if len(found) == len(keys) else None

    def is_right(self, found: "Found") -> bool:
        """Whether a row is that of the last event that was followed."""
        at = found.entry.position
        return self._events.get(at) == found.entry.event and self._changed.get(found.key, 0) <= at

    def filled(self, rows: RowDefinition[Any], table: str, key: Key, kept: Any) -> None:
        """Note a row that was read from the store, to be written to the shared cache when it is known to be right."""
        if len(self._filled) < MAX_PUBLISHED:
            self._filled.append(_Filled(rows, table, key, kept))

    async def publish(self, began: float, kept: dict[str, dict[Key, Any]]) -> None:
        """Write the rows that were read before a step of following began, and that it has left in memory."""
        if not self._events or not self._filled:
            return
        position, event = next(reversed(self._events.items()))
        right = [one for one in self._filled if one.kept.read < began]
        self._filled = [one for one in self._filled if one.kept.read >= began]
        entries = {
            self._name(one.table, one.key): encode_text(_Entry(position, event, _text(one)))
            for one in right
            if kept.get(one.table, {}).get(one.key) is one.kept
        }
        if entries:
            await self._cache.put(entries)

    def _name(self, table: str, key: Key) -> str:
        return f"{self._prefix}:{table}:{encode_text(key)}"

    def _found(self, rows: RowDefinition[Any], key: Key, text: str) -> "Found":
        try:
            entry = _decode(text)
            return Found(key, entry, None if entry.row is None else rows.decode(entry.row))
        except msgspec.MsgspecError:  # of another version of the program
            return Found(key, _NEVER, None)


class Found(msgspec.Struct, frozen=True):
    """A row that the shared cache holds."""

    key: Key
    entry: _Entry
    row: Any


_decode: Final = msgspec.json.Decoder(_Entry).decode
_NEVER: Final = _Entry(-1, "", None)


def _text(filled: _Filled) -> str | None:
    row = filled.kept.row
    return None if row is None else filled.rows.stored(row).row
