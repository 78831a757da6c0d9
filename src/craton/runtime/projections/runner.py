"""Runs a projection: its live generation, the one that is being built, and the swap between them.

A rebuild makes the next generation beside the live one; when it has caught up it becomes live in one short commit,
which checks that it is not behind the one it replaces. So no reader ever sees an empty or half-built view, nor one that
steps back. The generation before stays, for a rollback. A generation for which events are parked is not complete: it
waits until an operator has had each retried or dropped.
"""

import asyncio
from functools import partial
from typing import Final

from craton.application.projection import ProjectionDefinition
from craton.runtime.background import Background, keep_running
from craton.runtime.committer import write_alone
from craton.runtime.projections.generations import GenerationRecord, Generations
from craton.runtime.projections.handler import ProjectionHandler
from craton.runtime.projections.swap import BUILD_PAGE, Swap
from craton.runtime.subscriptions.subscription import PAGE, Options, Subscription

BUILD_POLL_SECONDS: Final = 0.05


class ProjectionRunner:
    """Runs the generations of one projection in this process."""

    def __init__(
        self, definition: ProjectionDefinition, background: Background, record: GenerationRecord, swap: Swap
    ) -> None:
        self.subscriptions: dict[int, Subscription] = {}
        """The subscriptions that run here, by generation."""
        self.is_running = False
        self.swap = swap
        self._definition = definition
        self._background = background
        self._record = record
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Keep the live generation up to date; build a new one and make it live when there is one to build."""
        self.is_running = True
        try:
            await keep_running(f"projection {self._definition.name}", self._look_and_wait)
        finally:
            self.is_running = False
            await self._stop(set(self._tasks))

    async def _look_and_wait(self) -> None:
        seen = self._background.signal.seen()
        state = await self._record.refresh()
        await self._run_generations(state)
        if self._record.is_current(state.building):
            await self.swap.attempt(state)
        if self._record.state.building:
            await self._background.signal.wait(seen, BUILD_POLL_SECONDS)
        else:
            await asyncio.sleep(BUILD_POLL_SECONDS)  # pause, because under load each commit would wake it
            await self._background.signal.wait(seen)

    async def _run_generations(self, state: Generations) -> None:
        """Run the generations that are this program's; of an inline projection only the one that is being built."""
        of_interest = [state.building] if self._definition.inline else [state.live, state.building]
        wanted = {generation.number for generation in of_interest if generation and self._record.is_current(generation)}
        await self._stop(set(self._tasks) - wanted)
        for number in wanted - set(self._tasks):
            building = state.building is not None and number == state.building.number
            subscription = self._subscription(number, building=building)
            self.subscriptions[number] = subscription
            self._tasks[number] = asyncio.create_task(subscription.run(), name=subscription.name)

    def _subscription(self, number: int, *, building: bool) -> Subscription:
        handler = ProjectionHandler(self._definition, self._background.store, self._background.events, number)
        # The build of an inline projection must end with the swap, because then the commits themselves write its rows.
        until_swapped = [(self._record.document, self._record.revision)] if building and self._definition.inline else []
        # What becomes live while this process commits nothing can't be written through the committer.
        alone = building and self._record.swaps_at_head(self._record.state)
        return Subscription(
            self._record.subscription(number),
            self._background,
            handler,
            commit=partial(write_alone, self._background.store) if alone else None,
            options=Options(page=BUILD_PAGE if building else PAGE, relies_on=until_swapped),
        )

    async def _stop(self, numbers: set[int]) -> None:
        tasks = [self._tasks.pop(number) for number in numbers]
        for number in numbers:
            self.subscriptions.pop(number, None)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
