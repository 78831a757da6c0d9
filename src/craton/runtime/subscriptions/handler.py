"""What a subscription does with its events, and what comes of it."""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from craton.ports import RowOperation, StoredEvent
from craton.runtime.subscriptions.feed import Page


class Failed(msgspec.Struct, frozen=True):
    """An event that couldn't be handled, and why."""

    event: StoredEvent
    error: str


def _nothing() -> None:
    """There is nothing to forget."""


class Handled(msgspec.Struct, frozen=True):
    """What is to be written for a page."""

    rows: Sequence[RowOperation]
    failed: Sequence[Failed] = ()
    forget: Callable[[], None] = _nothing
    """Takes back what the handler remembers of this, for it couldn't be written."""


class Handler(Protocol):
    """What a subscription does with its events."""

    def key(self, event: StoredEvent) -> str:
        """Events with the same key are handled in order."""

    async def reset(self) -> None:
        """Forget what is remembered: another may have been the owner since."""

    async def handle(self, page: Page, events: Sequence[StoredEvent]) -> Handled:
        """Handle some events of a page. After a failed event, the later ones of its key must fail too."""
