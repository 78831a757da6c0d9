"""Logs when the event loop is blocked, and in which function. Meanwhile nothing else runs, not even health checks."""

import asyncio
import sys
import threading
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType
from typing import Final

import structlog

from craton.domain import world
from craton.runtime.process.places import authors_place, shown

LONGEST_SECONDS: Final = 1.0
_BEATS: Final = 5

log = structlog.get_logger("craton.watchdog")


@asynccontextmanager
async def watched(longest: float = LONGEST_SECONDS) -> AsyncIterator[None]:
    """Watch the running loop during the block. Work that blocks it for longer than `longest` seconds is logged once."""
    beat = [world.monotonic()]
    done = threading.Event()
    main = threading.get_ident()

    async def beating() -> None:
        while True:
            beat[0] = world.monotonic()
            await asyncio.sleep(longest / _BEATS)

    def watching() -> None:
        told = 0.0
        while not done.wait(longest / _BEATS):
            if world.monotonic() - beat[0] > longest and told != beat[0]:
                told = beat[0]
                frame = sys._current_frames().get(main)
                log.error("the event loop is blocked, so nothing else can run", where=where(frame))

    heart = asyncio.create_task(beating(), name="watchdog")
    thread = threading.Thread(target=watching, name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        heart.cancel()
        await asyncio.wait([heart])


def where(frame: FrameType | None) -> str:
    """The innermost place in the application's own code; if there is none, the innermost place of all."""
    places = traceback.extract_stack(frame)
    return authors_place(places) or (shown(places[-1]) if places else "")
