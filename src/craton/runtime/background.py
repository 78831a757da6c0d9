"""What the background parts of a module share, and the loop that keeps each of them running."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, NoReturn

import msgspec
import structlog

from craton.application.errors import Unavailable
from craton.application.upcasting import EventTypes
from craton.ports import LogUnavailable, Store, StoreUnavailable
from craton.runtime.committer import Commit
from craton.runtime.process.attempt import heed_cancellation
from craton.runtime.process.signal import Signal
from craton.runtime.subscriptions.feed import Feed

ERROR_PAUSE_SECONDS: Final = 0.5

Clock = Callable[[], datetime]

log = structlog.get_logger("craton.background")


class Background(msgspec.Struct, frozen=True, kw_only=True):
    """What every background part of a module needs."""

    module: str
    store: Store
    source: str
    """The module whose log is read: this one, but for projections of another module's events."""
    events: EventTypes
    """The kinds of events in that log."""
    commit: Commit
    """Writes a changeset into the module's store."""
    feed: Feed
    """That log."""
    signal: Signal
    """Fires when something was written to the store of the log."""
    owner: str
    """The name by which this process holds leases."""
    clock: Clock


async def keep_running(name: str, work: Callable[[], Awaitable[None]]) -> NoReturn:
    """Repeat a piece of work until cancelled. `work` itself waits when there is nothing to do.

    An error is logged, and the work is repeated after a pause: a background part never ends by itself.
    """
    while True:
        heed_cancellation()
        try:
            await work()
        except LogUnavailable:
            await asyncio.sleep(ERROR_PAUSE_SECONDS)
        except StoreUnavailable as problem:
            log.warning("the store is unavailable", part=name, reason=str(problem))
            await asyncio.sleep(ERROR_PAUSE_SECONDS)
        except Unavailable as problem:
            log.warning("a background part waits", part=name, reason=str(problem))
            await asyncio.sleep(ERROR_PAUSE_SECONDS)
        except Exception:
            log.exception("a background part failed and will run again", part=name)
            await asyncio.sleep(ERROR_PAUSE_SECONDS)
