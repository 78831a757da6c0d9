"""Makes a new generation of a projection live when it has caught up and no event is parked for it."""

import asyncio
import contextlib
from typing import Final

import structlog

from craton.application.projection import ProjectionDefinition
from craton.ports import Changeset, DocumentChanged, PositionPassed, SerializationConflict, StatementFailed
from craton.ports.crash import crash_point
from craton.runtime.background import Background
from craton.runtime.committer import Committer
from craton.runtime.projections.generations import Generation, GenerationRecord, Generations

BUILD_PAGE: Final = 5_000
PAUSE_SECONDS: Final = 2.0
"""How long commits may be paused for an inline generation to catch up."""

log = structlog.get_logger("craton.projection")


class Swap:
    """The swap of one projection. If either generation is inline, commits are paused meanwhile."""

    def __init__(
        self,
        definition: ProjectionDefinition,
        background: Background,
        record: GenerationRecord,
        committer: Committer,
    ) -> None:
        self.held_up: list[int] = []
        """The positions of the events that were parked for the generation being built, at the last look."""
        self._definition = definition
        self._background = background
        self._record = record
        self._committer = committer

    async def attempt(self, state: Generations) -> None:
        """Make the new generation live if it has caught up and no event is parked for it."""
        assert state.building is not None  # noqa: S101
        subscription = self._record.subscription(state.building.number)
        at_head = self._record.swaps_at_head(state)
        if at_head or state.live is None:
            goal = await self._background.feed.head()
        else:
            goal = await self._background.store.checkpoint(self._record.subscription(state.live.number))
        built = await self._background.store.checkpoint(subscription)
        if built < goal - (BUILD_PAGE if at_head else 0) or await self._is_held_up(state.building):
            return
        if not await self._has_indexes(state):
            return
        if not at_head:
            await self._swap(state)
            return
        async with self._committer.paused():
            if await self._catches_up(subscription):
                await self._swap(state)

    async def _is_held_up(self, building: Generation) -> bool:
        """Whether events are parked for the generation being built. Each change of them is logged once."""
        parked = await self._record.parked(building)
        if parked != self.held_up:
            self.held_up = parked
            if parked:
                log.error(
                    "a new generation can't become live until its parked events are retried or dropped (craton parked)",
                    projection=self._definition.name,
                    subscription=self._record.subscription(building.number),
                    positions=parked,
                )
        return bool(parked)

    async def _has_indexes(self, state: Generations) -> bool:
        """Create the indexes that a generation is built without. If a row doesn't fit in one, build the generation
        again with indexes: then the event that the row comes from is parked."""
        assert state.building is not None  # noqa: S101
        if state.building.indexed:
            return True
        try:
            await self._record.create_indexes(state.building)
        except StatementFailed as problem:
            about = {"projection": self._definition.name, "reason": str(problem)}
            log.error("an index could not be created, so the generation is built again", **about)
            with contextlib.suppress(DocumentChanged):  # another process was faster
                await self._record.begin(state, indexed=True)
            return False
        return True

    async def _catches_up(self, subscription: str) -> bool:
        """Catch up while commits are paused. Returns False if this takes too long; it is tried again later."""
        head = await self._background.feed.head()
        self._background.signal.fire()
        until = asyncio.get_running_loop().time() + PAUSE_SECONDS
        while await self._background.store.checkpoint(subscription) < head:
            if asyncio.get_running_loop().time() > until:
                return False
            await asyncio.sleep(0.002)
        return True

    async def _swap(self, state: Generations) -> None:
        assert state.building is not None  # noqa: S101
        built = await self._background.store.checkpoint(self._record.subscription(state.building.number))
        if await self._is_held_up(
            state.building
        ):  # asked after the checkpoint was read, so that all events parked up to there are seen
            return
        crash_point("projection.built")
        after = Generations(live=state.building, previous=state.live, newest=state.newest)
        try:
            if self._record.swaps_at_head(state):
                await self._record.replace(state, after, Changeset(head_at_most=built))
            else:
                live = self._record.subscription(state.live.number if state.live else 0)
                await self._record.replace(state, after, Changeset(checkpoint_at_most=(live, built)))
        except (PositionPassed, DocumentChanged, SerializationConflict):
            return  # it hasn't caught up, or another process was faster: the next look will tell
        crash_point("projection.swapped")
        log.info("a new generation is live", projection=self._definition.name, generation=state.building.number)
        if state.previous is not None:
            await self._record.drop(state.previous)
