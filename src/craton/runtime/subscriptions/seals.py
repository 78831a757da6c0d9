"""Seals: a hash chained over the log in its order, so that a changed, inserted or removed event is found.

A subscription seals the log page by page, after the commits, so that commits needn't wait for each other: each seal
hashes the previous seal and the events since then. A copy of one hash, kept elsewhere, proves everything before it.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC
from typing import Final

import msgspec

from craton.application.codec import encode_text
from craton.ports import Query, Range, RowPut, Store, StoredEvent, StoredRow, Table, TableColumn
from craton.runtime.subscriptions.feed import EventPage
from craton.runtime.subscriptions.handler import Handled

SEALS: Final = Table("seals", (TableColumn("position", "integer"),), ())
NAME: Final = "seals"
VERIFY_PAGE: Final = 2_000


class Seal(msgspec.Struct, frozen=True):
    """The hash of the `count` events after `after` up to `position`, and of the previous seal."""

    after: int
    position: int
    count: int
    hash: str


def chained(before: str, events: Sequence[StoredEvent]) -> str:
    """SHA-256 over the previous hash and every field of the events."""
    digest = hashlib.sha256(before.encode())
    for event in events:
        digest.update(
            msgspec.json.encode(
                (
                    event.position,
                    event.stream,
                    event.version,
                    event.id,
                    event.type,
                    event.schema_version,
                    event.data,
                    event.metadata,
                    event.time.astimezone(UTC).isoformat(timespec="microseconds"),
                )
            )
        )
    return digest.hexdigest()


class SealHandler:
    """The handler of the sealing subscription."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last = Seal(0, 0, 0, "")

    def concerns(self, event: StoredEvent) -> bool:
        return False

    def key(self, event: StoredEvent) -> str:
        return ""

    async def reset(self) -> None:
        rows, _ = await self._store.find_rows(SEALS, Query(descending=True, limit=1))
        self._last = msgspec.json.decode(rows[0], type=Seal) if rows else Seal(0, 0, 0, "")

    async def handle(self, page: EventPage, events: Sequence[StoredEvent]) -> Handled:
        if not events:
            return Handled(())
        last, position = self._last, page.position
        self._last = Seal(last.position, position, len(events), chained(last.hash, events))
        return Handled([RowPut(SEALS, StoredRow((position,), (), encode_text(self._last)))])


async def broken_seals(store: Store) -> AsyncIterator[str]:
    """Yield a sentence for the first seal that doesn't match the log; nothing if all match."""
    reached = await store.checkpoint(NAME)  # read first, because sealing continues meanwhile
    before, at = "", 0
    while True:
        rows, _ = await store.find_rows(SEALS, Query(where={"position": Range(start=at + 1)}, limit=100))
        if not rows:
            break
        for text in rows:
            seal = msgspec.json.decode(text, type=Seal)
            events = await _events(store, seal.after, seal.position)
            before = chained(before, events)
            if seal.after != at or before != seal.hash or len(events) != seal.count:
                yield f"the log was changed between positions {seal.after + 1} and {seal.position}: its seal is broken"
                return
            at = seal.position
    if await _events(store, at, reached):  # a page without events gets no seal
        yield f"the seals after position {at} are gone"


async def _events(store: Store, after: int, to: int) -> list[StoredEvent]:
    events: list[StoredEvent] = []
    while after < to:
        page = await store.read_feed(after, min(VERIFY_PAGE, to - after))
        inside = [event for event in page.events if event.position <= to]
        events += inside
        if page.position == after or len(inside) < len(page.events):
            break
        after = page.position
    return events
