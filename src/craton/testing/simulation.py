"""A run that can be repeated, to the last bit: virtual time, seeded chance, and a seeded order of tasks.

Time stands still while anything can be done, and then jumps to what is due next. So an hour of timers, leases and
pauses takes as long as the work in it. The order of the tasks that could go on is drawn, so that each seed tries
another one. It works for what waits for nothing but the event loop: the work of threads is done at once, in the loop,
and there are no sockets.
"""

import asyncio
import heapq
import random
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

from craton.domain import world
from craton.testing.clock import START

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with a time of its own."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._now = 0.0
        self._chance = random.Random(seed)

    def time(self) -> float:
        return self._now

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Do the work at once; its result is there at the next turn."""
        future = self.create_future()
        try:
            result = func(*args)
        except Exception as problem:
            self.call_soon(_fail, future, problem)
        else:
            self.call_soon(_succeed, future, result)
        return future

    def _run_once(self) -> None:
        loop: Any = self  # asyncio offers no other way to decide what runs next
        while loop._scheduled and loop._scheduled[0]._cancelled:
            heapq.heappop(loop._scheduled)._scheduled = False
            loop._timer_cancelled_count -= 1
        if not loop._ready and loop._scheduled:
            self._now = max(self._now, loop._scheduled[0]._when)
        elif not loop._ready:
            raise RuntimeError("everything waits for something that never comes")
        ready = list(loop._ready)
        self._chance.shuffle(ready)
        loop._ready.clear()
        loop._ready.extend(ready)
        super()._run_once()  # type: ignore[misc]


class SeededWorld(world.World):
    """A world whose clocks are those of a virtual loop, and whose chance comes from a seed."""

    def __init__(self, loop: VirtualLoop, seed: int) -> None:
        self._loop = loop
        self._chance = random.Random(seed)

    def now(self) -> datetime:
        return START + timedelta(seconds=self._loop.time())

    def milliseconds(self) -> int:
        return int(self.now().timestamp() * 1_000)

    def monotonic(self) -> float:
        return self._loop.time()

    def random_bytes(self, count: int) -> bytes:
        return self._chance.randbytes(count)

    def random(self) -> float:
        return self._chance.random()


def simulate(seed: int, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `main` in a virtual loop and a seeded world; the same seed gives the same run again.

    Raises `RuntimeError` when everything waits for something that never comes, and what `main` raises.
    """
    loop = VirtualLoop(seed)
    with world.replaced_by(SeededWorld(loop, seed)), asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main())


def _fail(future: asyncio.Future[Any], problem: Exception) -> None:
    if not future.done():
        future.set_exception(problem)


def _succeed(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)
