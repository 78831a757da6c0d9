"""A projection at run time: its preparation at start, and what operators see and do."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import ClassVar, Final

import msgspec
import structlog

from craton.application.errors import MisuseError
from craton.application.projection import ProjectionDefinition
from craton.ports import Changeset, DocumentChanged, LogUnavailable, PositionPassed, SerializationConflict, Store
from craton.runtime.background import Background
from craton.runtime.committer import Committer, write_alone
from craton.runtime.projections.generations import Generation, GenerationRecord, Generations, LiveInline
from craton.runtime.projections.live_view import LiveView
from craton.runtime.projections.runner import ProjectionRunner
from craton.runtime.projections.swap import Swap
from craton.runtime.projections.verification import Events, differing_rows

HEAD_SECONDS: Final = 1.5
"""How long the end of another service's log is waited for."""

log = structlog.get_logger("craton.projection")


class ProjectionProgress(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of a projection."""

    version_tells_all: ClassVar[bool] = False
    module: str
    source: str
    """The module whose log it reads."""
    projection: str
    version: int
    inline: bool
    live: int
    previous: int
    building: int
    position: int
    head: int | None
    """The end of that log; None if the service that runs the module doesn't answer."""
    lag: int | None
    built: int
    """The position that the generation being built has reached."""
    parked: int
    """How many events are parked for the live generation."""
    parked_building: int = 0
    """How many events are parked for the generation being built; it becomes live when there are none."""


CommitWith = Callable[[ProjectionProgress], Changeset]
"""Makes what else is written in the commit of an operator's verb, from the progress at that time."""


def _nothing_else(_: ProjectionProgress) -> Changeset:
    return Changeset()


class RunningProjection:
    """One projection: `view` is what queries read, `runner` keeps it up to date."""

    def __init__(
        self, definition: ProjectionDefinition, background: Background, committer: Committer, inline: LiveInline
    ) -> None:
        self.definition = definition
        source = "" if background.source == background.module else background.source
        self.record = GenerationRecord(definition, background.store, inline, source)
        self.runner = ProjectionRunner(
            definition, background, self.record, Swap(definition, background, self.record, committer)
        )
        self.view = LiveView(definition, background, self.record, self.runner)
        self._background = background

    @property
    def store(self) -> Store:
        return self._background.store

    @property
    def held_up(self) -> list[int]:
        """The positions of the events that were parked for the generation being built, at the last look."""
        return self.runner.swap.held_up

    async def prepare(self) -> None:
        """Read the generations, or create the first; begin a new one if this version of the program has none."""
        await self.record.adopt()
        while self.record.revision == 0:
            # Only the commits of the store's own log can make sure that nothing is in it yet.
            nothing_yet = self._is_own and await self._background.feed.head() == 0
            with contextlib.suppress(
                DocumentChanged, PositionPassed, SerializationConflict
            ):  # another process was faster
                await self.record.begin(self.record.state, live=nothing_yet)
            await self.record.refresh()
        await self._require_position_in_log()
        state = self.record.state
        known = [generation for generation in (state.live, state.building) if generation is not None]
        if any(map(self.record.is_current, known)):
            return
        if all(generation.version <= self.definition.version for generation in known):
            await self.rebuild()
        else:
            log.error(
                "a later version of the program keeps this read model, and this one doesn't: start that version, or "
                "build the read model again with craton projections rebuild",
                module=self._background.module,
                projection=self.definition.name,
            )

    @property
    def _is_own(self) -> bool:
        """Whether it reads the log of its own module."""
        return self._background.source == self._background.module

    async def _require_position_in_log(self) -> None:
        """Build the read model again if another module's log, restored from a backup, ends before what it has read."""
        live = self.record.state.live
        if self._is_own or live is None:
            return
        reached = await self._background.store.checkpoint(self.record.subscription(live.number))
        try:
            head = await self._background.feed.head()
        except LogUnavailable:  # the other service refuses to read on from there, when it is back
            return
        if reached > head:
            log.error(
                "the log ends before what this read model has read, so it is built again",
                module=self._background.module,
                projection=self.definition.name,
                source=self._background.source,
            )
            with contextlib.suppress(DocumentChanged):  # another process was faster
                await self.record.begin_anew(self.record.state)

    async def rebuild(self) -> ProjectionProgress:
        """Begin to build a new generation beside the live one; if one is being built already, it continues."""
        progress, _ = await self.rebuild_with(_nothing_else)
        return progress

    async def rebuild_with(self, commit_with: CommitWith) -> tuple[ProjectionProgress, int]:
        """The same, with what else is written. Returns the position of its last event, too."""
        while True:
            state = await self.record.refresh()
            if self._is_being_built(state.building):
                progress = await self._progress(state)
                return progress, await write_alone(self._background.store, commit_with(progress))
            after = self.record.with_new_generation(state)
            progress = await self._progress(after)
            with contextlib.suppress(DocumentChanged):  # another process was faster
                position = await self.record.begin(state, unit=commit_with(progress))
                self._background.signal.fire()
                return progress, position

    def _is_being_built(self, building: Generation | None) -> bool:
        """Whether this program, or a later version of it, is already building the generation that it needs."""
        if building is None:
            return False
        return self.record.is_current(building) or building.version > self.definition.version

    async def roll_back(self) -> ProjectionProgress:
        """Make the previous generation live again; it then catches up.

        Raises `MisuseError` when there is no such generation, or when it wouldn't catch up.
        """
        state = await self.record.refresh()
        progress, _ = await self.roll_back_with(_nothing_else, 0 if state.live is None else state.live.number)
        return progress

    async def roll_back_with(self, commit_with: CommitWith, live: int) -> tuple[ProjectionProgress, int]:
        """The same, with what else is written, unless another generation than `live` has become the live one.

        Returns the position of its last event, too.
        """
        state = await self.record.refresh()
        name = self.definition.name
        if live != (0 if state.live is None else state.live.number):
            raise MisuseError(f"another generation of {name} has become live meanwhile")
        if self.definition.inline:
            raise MisuseError(f"{name} is inline: its generation before has missed events; rebuild it instead")
        if state.previous is None:
            raise MisuseError(f"{name} has no generation before the live one")
        if not self.record.is_current(state.previous):
            raise MisuseError(
                f"the generation before the live one of {name} was made by another version of the program; run that "
                f"version to go back to it"
            )
        before = Generations(live=state.previous, previous=state.live, newest=state.newest)
        progress = await self._progress(before)
        try:
            position = await self.record.replace(state, before, commit_with(progress))
        except DocumentChanged:
            raise MisuseError(f"the generations of {name} have changed meanwhile") from None
        self._background.signal.fire()
        if state.building is not None:
            await self.record.drop(state.building)
        return progress, position

    async def parked_for_build(self) -> int:
        """How many parked events keep the generation being built from becoming live; 0 while it is still catching
        up."""
        building = (await self.record.refresh()).building
        if building is None:
            return 0
        name = self.record.subscription(building.number)
        if await self._background.store.checkpoint(name) < await self._background.feed.head():
            return 0
        parked = await self._background.store.parked(name)
        return 0 if any(entry.operator_request for entry in parked) else len(parked)

    async def handles(self, subscription: str) -> bool:
        """Whether a process carries out operators' requests for this subscription of the projection."""
        state = await self.record.refresh()
        read = [state.building] if self.view.in_step() else [state.live, state.building]
        return subscription in [self.record.subscription(generation.number) for generation in read if generation]

    async def progress(self) -> ProjectionProgress:
        """The progress of the projection now."""
        return await self._progress(await self.record.refresh())

    async def _progress(self, state: Generations) -> ProjectionProgress:
        head = await self._head()
        live, building, previous = (
            generation.number if generation else 0 for generation in (state.live, state.building, state.previous)
        )
        in_step = state.live is not None and state.live.inline
        position = (
            head
            if in_step and head is not None
            else await self._background.store.checkpoint(self.record.subscription(live))
        )
        return ProjectionProgress(
            module=self._background.module,
            source=self._background.source,
            projection=self.definition.name,
            version=self.definition.version,
            inline=self.definition.inline,
            live=live,
            previous=previous,
            building=building,
            position=position,
            head=head,
            lag=None if head is None else max(0, head - position),
            built=await self._background.store.checkpoint(self.record.subscription(building)) if building else 0,
            parked=len(await self.record.parked(state.live)) if state.live else 0,
            parked_building=len(await self.record.parked(state.building)) if state.building else 0,
        )

    async def _head(self) -> int | None:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                return await self._background.feed.head()
        except (LogUnavailable, TimeoutError):
            return None

    async def differences(self, events: Events) -> AsyncIterator[str]:
        """Yield a sentence for each row of the live generation that differs from what the events say."""
        state = await self.record.refresh()
        if state.live is None:
            return
        if not self.record.is_current(state.live):
            log.warning(
                "a read model was not verified, because another version of the program keeps it",
                projection=self.definition.name,
            )
            return
        name, store = self.record.subscription(state.live.number), self._background.store
        left_out = {entry.position for entry in await store.parked(name)} | set(await store.dropped(name))
        async for problem in differing_rows(
            self.definition,
            self._background.events,
            self._background.store,
            state.live.number,
            events,
            None if state.live.inline else name,
            left_out,
        ):
            yield problem
