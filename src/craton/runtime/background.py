"""What a module's background parts share, and how each of them is kept running."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, NoReturn

import msgspec
import structlog

from craton.application.errors import Unavailable
from craton.application.upcasting import EventTypes
from craton.ports import Store, StoreUnavailable
from craton.runtime.committer import Commit
from craton.runtime.process.attempt import heed_cancellation
from craton.runtime.process.signal import Signal
from craton.runtime.subscriptions.feed import Feed

ERROR_PAUSE_SECONDS: Final = 0.5

Clock = Callable[[], datetime]

log = structlog.get_logger("craton.background")


class Background(msgspec.Struct, frozen=True, kw_only=True):
    """What every part of a module needs that goes on without being called."""

    module: str
    store: Store
    events: EventTypes
    """The module's own."""
    commit: Commit
    """Writes a changeset into the module's store."""
    feed: Feed
    """The module's log."""
    signal: Signal
    """Fires when something was written into the module's store."""
    owner: str
    """The name by which this process holds leases."""
    clock: Clock


async def keep_running(name: str, work: Callable[[], Awaitable[None]]) -> NoReturn:
    """Do a piece of work again and again until cancelled. `work` itself waits for what there is to do.

    What fails is said in the log and done again after a pause: a background part never ends by itself.
    """
    while True:
        heed_cancellation()
        try:
            await work()
        except StoreUnavailable as problem:
            log.warning("the store is unavailable", part=name, reason=str(problem))
            await asyncio.sleep(ERROR_PAUSE_SECONDS)
        except Unavailable as problem:
            log.warning("a background part waits", part=name, reason=str(problem))
            await asyncio.sleep(ERROR_PAUSE_SECONDS)
        except Exception:
            log.exception("a background part failed and will go on", part=name)
            await asyncio.sleep(ERROR_PAUSE_SECONDS)
