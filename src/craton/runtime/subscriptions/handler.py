"""How a subscription handles its events, and the results of that."""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from craton.ports import RowOperation, StoredEvent
from craton.runtime.subscriptions.feed import EventPage


class Failed(msgspec.Struct, frozen=True):
    """An event that couldn't be handled, with the reason."""

    event: StoredEvent
    error: str


def _nothing() -> None:
    """Forget nothing."""


class Handled(msgspec.Struct, frozen=True):
    """What must be written for a page."""

    rows: Sequence[RowOperation]
    failed: Sequence[Failed] = ()
    forget: Callable[[], None] = _nothing
    """Makes the handler forget its work on this page, because it couldn't be written."""


class Handler(Protocol):
    """Handles the events of a subscription."""

    def concerns(self, event: StoredEvent) -> bool:
        """Whether it must be able to read an event."""

    def key(self, event: StoredEvent) -> str:
        """Events with the same key are handled in order."""

    async def reset(self) -> None:
        """Forget everything in memory: another process may have been the owner meanwhile."""

    async def handle(self, page: EventPage, events: Sequence[StoredEvent]) -> Handled:
        """Handle some events of a page. After a failed event, the later ones of its key must fail too."""
