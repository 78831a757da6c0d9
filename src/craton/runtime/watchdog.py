"""Says when the event loop stands still, and in which function: nothing else goes on meanwhile, not even health."""

import asyncio
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import Final

import structlog

LONGEST_SECONDS: Final = 1.0
_BEATS: Final = 5
_TOOLKIT: Final = str(Path(__file__).parents[1])
_LIBRARIES: Final = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})

log = structlog.get_logger("craton.watchdog")


@asynccontextmanager
async def watched(longest: float = LONGEST_SECONDS) -> AsyncIterator[None]:
    """Watch the running loop while the block lasts: what blocks it for longer, in seconds, is said once."""
    beat = [time.monotonic()]
    done = threading.Event()
    main = threading.get_ident()

    async def beating() -> None:
        while True:
            beat[0] = time.monotonic()
            await asyncio.sleep(longest / _BEATS)

    def watching() -> None:
        told = 0.0
        while not done.wait(longest / _BEATS):
            if time.monotonic() - beat[0] > longest and told != beat[0]:
                told = beat[0]
                frame = sys._current_frames().get(main)
                log.error("the event loop is blocked, and with it everything else", where=where(frame))

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
    """The innermost place in code that is neither the toolkit's nor a library's; if there is none, the innermost."""
    places = traceback.extract_stack(frame)
    place = next((place for place in reversed(places) if is_authors(place.filename)), places[-1] if places else None)
    return "" if place is None else f"{place.filename}:{place.lineno} in {place.name}"


def is_authors(filename: str) -> bool:
    """Whether a file is of the application, rather than of the toolkit, of a library or of nowhere."""
    return not filename.startswith((_TOOLKIT, *_LIBRARIES, "<"))
