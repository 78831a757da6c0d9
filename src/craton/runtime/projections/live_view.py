"""The generation of a projection that queries read, once it has got to what they ask for."""

import asyncio
from typing import Final

from craton.application.context import context_var
from craton.application.errors import Unavailable
from craton.application.projection import ProjectionDefinition
from craton.domain import world
from craton.runtime.background import Background
from craton.runtime.projections.generations import GenerationRecord
from craton.runtime.projections.runner import ProjectionRunner

VIEW_WAIT_SECONDS: Final = 5.0
MAX_RECORD_AGE_SECONDS: Final = 1.0
"""Another process may have made another generation live. Where the projection runs, it looks twice a second."""
MAX_UNWATCHED_AGE_SECONDS: Final = 0.05
"""The same where the projection doesn't run, so that nothing looks by itself."""
ELSEWHERE_POLL_SECONDS: Final = 0.01
"""How often a waiting query looks at the progress of another process."""
RETRY_SECONDS: Final = 2


class NotInStep(Unavailable):
    """This program can't use or keep a view, because no generation that it understands is live."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, maybe_executed=False, retry_after=RETRY_SECONDS)


class LiveView:
    """What queries read of one projection."""

    def __init__(
        self,
        definition: ProjectionDefinition,
        background: Background,
        record: GenerationRecord,
        runner: ProjectionRunner,
    ) -> None:
        self._definition = definition
        self._source = background.source
        self._store = background.store
        self._record = record
        self._runner = runner
        self._recorded = 0
        """The newest position that callers have reported as committed before the record was last read."""

    async def generation(self) -> int:
        """The generation to read, once it has reached the running query's position. Raises `Unavailable`."""
        wanted = context_var.get().positions.get(self._source, 0)
        most = MAX_RECORD_AGE_SECONDS if self._runner.is_running else MAX_UNWATCHED_AGE_SECONDS
        old = world.monotonic() - self._record.refreshed >= most
        if old or wanted > self._recorded:
            await self._record.refresh()
            self._recorded = max(self._recorded, wanted)
        if wanted and not self.in_step():
            await self._reach(wanted)
        live = self._record.readable()
        if live is None:
            building = (await self._record.refresh()).building
            live = self._record.readable()
            if live is None:
                raise self.not_live(0 if building is None else len(await self._record.parked(building)))
        return live.number

    def in_step(self) -> bool:
        """Whether the live generation is written in the commits of the events, so that queries never wait for it."""
        live = self._record.state.live
        return live is not None and bool(live.inline)

    def not_live(self, parked: int) -> NotInStep:
        reason = f"The view {self._definition.name} is being built for this version of the program"
        if parked:
            reason += f", and waits for an operator: {parked} events are parked (craton parked list)"
        return NotInStep(f"{reason}.")

    async def _reach(self, position: int) -> None:
        """Wait until the live generation has reached a position."""
        deadline = asyncio.get_running_loop().time() + VIEW_WAIT_SECONDS
        while True:
            if self.in_step():
                return
            number = self._record.state.live.number if self._record.state.live else 0
            subscription = self._runner.subscriptions.get(number)
            seen = subscription.moved.seen() if subscription else 0
            if subscription is not None and subscription.position >= position:
                return
            if await self._store.checkpoint(self._record.subscription(number)) >= position:
                return
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                raise Unavailable(
                    f"The view {self._definition.name} has not reached position {position} yet.", maybe_executed=False
                )
            if subscription is not None and subscription.owned:
                await subscription.moved.wait(seen, min(left, 0.1))
            else:
                await asyncio.sleep(min(left, ELSEWHERE_POLL_SECONDS))
            await self._record.refresh()
