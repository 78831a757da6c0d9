"""Waiting for what comes about in the background."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Final

WAIT_SECONDS: Final = 300.0
"""Long enough for a slow and busy machine: what takes longer is taken for something that never comes."""
PAUSE_SECONDS: Final = 0.005


async def until(condition: Callable[[], Any], seconds: float = WAIT_SECONDS) -> Any:
    """Ask again and again until the answer is true, and return it.

    `condition` is a function, async or not. Raises `TimeoutError`, with its name, when it isn't true in time. What the
    function itself raises passes through.
    """
    try:
        async with asyncio.timeout(seconds) as limit:
            while True:
                answer = condition()
                if inspect.isawaitable(answer):
                    answer = await answer
                if answer:
                    return answer
                await asyncio.sleep(PAUSE_SECONDS)
    except TimeoutError:
        if not limit.expired():
            raise
        name = getattr(condition, "__name__", repr(condition))
        raise TimeoutError(f"{name} has not become true within {seconds:g} seconds") from None
