"""Runs a projection: its live generation, the one that is being built, and the swap between them.

A rebuild makes the next generation beside the live one;
when it has caught up it becomes live in one short commit, which checks that it is not behind the one it replaces. So no
reader ever sees an empty or half-built view, nor one that steps back. The generation before stays, for a rollback.
A generation for which events are parked is not complete: it waits until an operator has had each retried or dropped.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final

import msgspec
import structlog

from craton.application.codec import decode, encode_text
from craton.application.context import context_var
from craton.application.errors import KeyReused, MisuseError, Unavailable
from craton.application.projection import ProjectionDefinition
from craton.application.upcasting import EventTypes
from craton.domain import world
from craton.domain.aggregate import AnyAggregate
from craton.ports import (
    Changeset,
    DocumentChanged,
    PositionPassed,
    RowOperation,
    SerializationConflict,
    StatementFailed,
    Store,
    StoredEvent,
    StoreUnavailable,
    TableTaken,
)
from craton.ports.crash import crash_point
from craton.runtime.commands.results import Request
from craton.runtime.committer import Commit, Committer, write_alone
from craton.runtime.process.attempt import heed_cancellation
from craton.runtime.process.signal import Signal
from craton.runtime.projections.generations import Generation, GenerationRecord, Generations, LiveInline
from craton.runtime.projections.handler import ProjectionHandler
from craton.runtime.projections.verification import Events, differing_rows
from craton.runtime.subscriptions.feed import Feed
from craton.runtime.subscriptions.subscription import ERROR_PAUSE_SECONDS, PAGE, Subscription

VIEW_WAIT_SECONDS: Final = 5.0
MAX_RECORD_AGE_SECONDS: Final = 1.0
"""Another process may have made another generation live; a runner that works looks every half a second."""
BUILD_PAGE: Final = 5_000
BUILD_POLL_SECONDS: Final = 0.05
PAUSE_SECONDS: Final = 2.0
RETRY_SECONDS: Final = 2
ELSEWHERE_POLL_SECONDS: Final = 0.01
"""How often somebody who waits looks how far another process has got."""

log = structlog.get_logger("craton.projection")


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How a projection is doing."""

    module: str
    projection: str
    version: int
    inline: bool
    live: int
    previous: int
    building: int
    position: int
    head: int
    lag: int
    built: int
    """How far the generation that is being built has got."""
    parked: int
    """Events that are parked for the live generation."""
    parked_building: int = 0
    """Events that are parked for the generation that is being built: it becomes live when there are none."""


class NotInStep(Unavailable):
    """This program can't use or keep a view: no generation that it understands is live."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, maybe_executed=False, retry_after=RETRY_SECONDS)


class ProjectionRunner:
    """Runs the generations of one projection in this process."""

    def __init__(
        self,
        module: str,
        kind: ProjectionDefinition,
        events: EventTypes,
        store: Store,
        committer: Committer,
        commit: Commit,
        feed: Feed,
        signal: Signal,
        owner: str,
        clock: Callable[[], datetime],
        inline: LiveInline,
    ) -> None:
        self.kind = kind
        self._module = module
        self._events = events
        self._store = store
        self._committer = committer
        self._commit = commit
        self._feed = feed
        self._signal = signal
        self._owner = owner
        self._clock = clock
        self.record = GenerationRecord(kind, store, inline)
        self._held_up: list[int] = []
        """The positions of events that are parked for the generation being built, when it was last looked at."""
        self._subscriptions: dict[int, Subscription] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._runs = False
        self._recorded = 0
        """The newest position that was committed before the record was last looked at, as far as callers told."""

    # --- at start ------------------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Read the generations, or make the first; begin a new one if the program's version has none."""
        await self.record.adopt()
        while self.record.revision == 0:
            nothing_yet = await self._store.head() == 0
            with contextlib.suppress(DocumentChanged, PositionPassed, SerializationConflict):  # another was faster
                await self._begin(self.record.state, live=nothing_yet)
            await self.record.refresh()
        state = self.record.state
        known = [generation for generation in (state.live, state.building) if generation is not None]
        if any(map(self.record.is_current, known)):
            return
        if all(generation.version <= self.kind.version for generation in known):
            await self.rebuild()
        else:
            log.error(
                "a later version of the program keeps this read model, and this one doesn't: start that version, or "
                "build the read model anew with craton projections rebuild",
                module=self._module,
                projection=self.kind.name,
            )

    # --- reading -------------------------------------------------------------------------------------------------

    async def live(self) -> int:
        """The generation to read, once it has reached what the running query asks for. Raises `Unavailable`."""
        wanted = context_var.get().positions.get(self._module, 0)
        old = world.monotonic() - self.record.refreshed >= MAX_RECORD_AGE_SECONDS
        if old or wanted > self._recorded or not self._runs:
            await self.record.refresh()
            self._recorded = max(self._recorded, wanted)
        if wanted and not self._in_step():
            await self._reach(wanted)
        live = self.record.readable()
        if live is None:
            building = (await self.record.refresh()).building
            live = self.record.readable()
            if live is None:
                raise self._not_live(0 if building is None else len(await self._parked(building)))
        return live.number

    def _in_step(self) -> bool:
        """Whether the live generation is written in the commits of the events, so that it is never waited for."""
        live = self.record.state.live
        return live is not None and bool(live.inline)

    def _not_live(self, parked: int) -> NotInStep:
        reason = f"The view {self.kind.name} is being built for this version of the program"
        if parked:
            reason += f", and waits for an operator: {parked} events are parked (craton parked list)"
        return NotInStep(f"{reason}.")

    async def _parked(self, generation: Generation) -> list[int]:
        """The positions of the events that are parked for a generation."""
        return [entry.position for entry in await self._store.parked(self.record.subscription(generation.number))]

    async def _reach(self, position: int) -> None:
        """Wait until the live generation has got to a position."""
        deadline = asyncio.get_running_loop().time() + VIEW_WAIT_SECONDS
        while True:
            if self._in_step():
                return
            number = self.record.state.live.number if self.record.state.live else 0
            subscription = self._subscriptions.get(number)
            seen = subscription.moved.seen() if subscription else 0
            if subscription is not None and subscription.position >= position:
                return
            if await self._store.checkpoint(self.record.subscription(number)) >= position:
                return
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                raise Unavailable(
                    f"The view {self.kind.name} has not reached position {position} yet.", maybe_executed=False
                )
            if subscription is not None and subscription.owned:
                await subscription.moved.wait(seen, min(left, 0.1))
            else:
                await asyncio.sleep(min(left, ELSEWHERE_POLL_SECONDS))
            await self.record.refresh()

    # --- inline --------------------------------------------------------------------------------------------------

    def project_inline(self, unit: Changeset, live: Generation | None, states: Mapping[str, AnyAggregate]) -> None:
        """Add the rows of this projection to a unit of events; it holds only while this generation is live.

        `states` are the states of the aggregates after these events, by stream. A unit without an event that it
        projects is left as it is. Raises `NotInStep` while no generation of this program is live: its rows would be
        left behind.
        """
        concerns = self.kind.concerns
        if not any(concerns(event.type, append.stream) for append in unit.appends for event in append.events):
            return
        if live is None:
            raise self._not_live(len(self._held_up))
        generation, before = live.number, unit.project
        projection = self.kind.new()

        def project(stored: Sequence[StoredEvent]) -> Sequence[RowOperation]:
            operations = list(before(stored)) if before else []
            for event in self._to_project(stored):
                changes = self.kind.changes(projection, self._events.recorded(event), states.get(event.stream))
                operations += [change.in_transaction(generation) for change in changes]
            return operations

        unit.project = project

    def _to_project(self, stored: Sequence[StoredEvent]) -> list[StoredEvent]:
        """The events that change rows: of an aggregate the last one, because its row is made of the state after it."""
        concerned = [event for event in stored if self.kind.concerns(event.type, event.stream)]
        return concerned if self.kind.aggregate is None else list({event.stream: event for event in concerned}.values())

    # --- running -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the live generation going, and build and swap in a new one when there is one to build."""
        self._runs = True
        try:
            while True:
                heed_cancellation()
                seen = self._signal.seen()
                try:
                    state = await self.record.refresh()
                    await self._run_generations(state)
                    if self.record.is_current(state.building):
                        await self._try_swap(state)
                except StoreUnavailable as problem:
                    log.warning("the store is unavailable", projection=self.kind.name, reason=str(problem))
                    await asyncio.sleep(ERROR_PAUSE_SECONDS)
                except Exception:
                    log.exception("a projection failed and will go on", projection=self.kind.name)
                    await asyncio.sleep(ERROR_PAUSE_SECONDS)
                if self.record.state.building:
                    await self._signal.wait(seen, BUILD_POLL_SECONDS)
                else:
                    await asyncio.sleep(BUILD_POLL_SECONDS)  # under load each commit would wake it
                    await self._signal.wait(seen)
        finally:
            self._runs = False
            await self._stop(set(self._tasks))

    async def _run_generations(self, state: Generations) -> None:
        """Run what is this program's; an inline projection is only read from the log while it is being built."""
        of_interest = [state.building] if self.kind.inline else [state.live, state.building]
        wanted = {generation.number for generation in of_interest if generation and self.record.is_current(generation)}
        await self._stop(set(self._tasks) - wanted)
        for number in wanted - set(self._tasks):
            building = state.building is not None and number == state.building.number
            subscription = self._subscription(number, building=building)
            self._subscriptions[number] = subscription
            self._tasks[number] = asyncio.create_task(subscription.run(), name=subscription.name)

    def _subscription(self, number: int, *, building: bool) -> Subscription:
        projector = ProjectionHandler(self.kind, self._store, self._events, number)
        # What builds an inline projection must end with the swap: from then on the commits themselves write its rows.
        until_swapped = [(self.record.document, self.record.revision)] if building and self.kind.inline else []
        # What is to become live while this process commits nothing can't be written by those commits.
        alone = building and self._swaps_at_head(self.record.state)
        return Subscription(
            self.record.subscription(number),
            self._store,
            partial(write_alone, self._store) if alone else self._commit,
            self._feed,
            projector,
            self._signal,
            self._owner,
            self._clock,
            page=BUILD_PAGE if building else PAGE,
            relies_on=until_swapped,
        )

    async def _stop(self, numbers: set[int]) -> None:
        tasks = [self._tasks.pop(number) for number in numbers]
        for number in numbers:
            self._subscriptions.pop(number, None)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _swaps_at_head(self, state: Generations) -> bool:
        """Whether a generation becomes live only when it has all events: where the one before or after is inline."""
        return self.kind.inline or (state.live is not None and bool(state.live.inline))

    async def _try_swap(self, state: Generations) -> None:
        """Swap the new generation in if it has caught up and nothing is parked for it."""
        assert state.building is not None  # noqa: S101
        subscription = self.record.subscription(state.building.number)
        at_head = self._swaps_at_head(state)
        if at_head or state.live is None:
            goal = await self._store.head()
        else:
            goal = await self._store.checkpoint(self.record.subscription(state.live.number))
        built = await self._store.checkpoint(subscription)
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
        """Whether events are parked for what is being built; an operator is told once of each change in that."""
        parked = await self._parked(building)
        if parked != self._held_up:
            self._held_up = parked
            if parked:
                log.error(
                    "a new generation isn't made live before its parked events are retried or dropped (craton parked)",
                    projection=self.kind.name,
                    subscription=self.record.subscription(building.number),
                    positions=parked,
                )
        return bool(parked)

    async def _has_indexes(self, state: Generations) -> bool:
        """Make the indexes that a generation is built without. When a row doesn't fit in one, build it again with them:
        then the event that the row comes from is parked."""
        assert state.building is not None  # noqa: S101
        if state.building.indexed:
            return True
        try:
            await self.record.create_indexes(state.building)
        except StatementFailed as problem:
            log.error("an index can't be made, so it is built again", projection=self.kind.name, reason=str(problem))
            with contextlib.suppress(DocumentChanged):  # another process was faster
                await self._begin(state, indexed=True)
            return False
        return True

    async def _catches_up(self, subscription: str) -> bool:
        """While nothing is committed, the rest is soon built. False if it takes too long: later again."""
        head = await self._store.head()
        self._signal.fire()
        until = asyncio.get_running_loop().time() + PAUSE_SECONDS
        while await self._store.checkpoint(subscription) < head:
            if asyncio.get_running_loop().time() > until:
                return False
            await asyncio.sleep(0.002)
        return True

    async def _swap(self, state: Generations) -> None:
        assert state.building is not None  # noqa: S101
        built = await self._store.checkpoint(self.record.subscription(state.building.number))
        if await self._is_held_up(state.building):  # asked after the checkpoint: what was parked up to there is seen
            return
        crash_point("projection.built")
        after = Generations(live=state.building, previous=state.live, newest=state.newest)
        try:
            if self._swaps_at_head(state):
                await self.record.replace(state, after, head_at_most=built)
            else:
                live = self.record.subscription(state.live.number if state.live else 0)
                await self.record.replace(state, after, checkpoint_at_most=(live, built))
        except (PositionPassed, DocumentChanged, SerializationConflict):
            return  # not caught up after all, or another was faster: looked at again soon
        crash_point("projection.swapped")
        log.info("a new generation is live", projection=self.kind.name, generation=state.building.number)
        if state.previous is not None:
            await self.record.drop(state.previous)

    # --- for operators -------------------------------------------------------------------------------------------

    async def rebuild(self, request: Request | None = None) -> Progress:
        """Begin to build a new generation beside the live one; one that is being built goes on.

        The answer is stored under the key of `request`, if it has one, in the same commit.
        """
        while True:
            state = await self.record.refresh()
            building = state.building
            if building is not None and (self.record.is_current(building) or building.version > self.kind.version):
                break
            with contextlib.suppress(DocumentChanged):  # another process was faster
                return await self._begin(state, request)
        progress = await self._progress(state)
        if request is not None:
            await write_alone(self._store, Changeset(result=request.answered(encode_text(progress))))
        return progress

    async def _begin(
        self, seen: Generations, request: Request | None = None, *, live: bool = False, indexed: bool = False
    ) -> Progress:
        """Record a new generation and make its tables, in one commit; the one that was being built is given up.

        `live`: it is so at once, since there are no events yet. Raises what `GenerationRecord.replace` raises.
        """
        number = seen.newest
        while True:
            number += 1
            new = self.record.new_generation(number, indexed=live or indexed)
            state = msgspec.structs.replace(seen, **{"live" if live else "building": new}, newest=number)
            with contextlib.suppress(TableTaken):  # by a projection of another name that has, or had, the same rows
                progress = await self._answer(seen, state, request, head_at_most=0 if live else None)
                break
        if seen.building is not None:
            await self.record.drop(seen.building)
        return progress

    async def roll_back(self, request: Request | None = None) -> Progress:
        """Make the generation before the live one live again; it then catches up.

        The answer is stored under the key of `request`, if it has one, in the same commit. Raises `MisuseError` when
        there is no such generation, or when it wouldn't catch up.
        """
        state = await self.record.refresh()
        if self.kind.inline:
            raise MisuseError(
                f"{self.kind.name} is inline: its generation before has missed events; rebuild it instead"
            )
        if state.previous is None:
            raise MisuseError(f"{self.kind.name} has no generation before the live one")
        if not self.record.is_current(state.previous):
            raise MisuseError(
                f"the generation before the live one of {self.kind.name} was made by another version of the program; "
                f"run that version to go back to it"
            )
        before = Generations(live=state.previous, previous=state.live, newest=state.newest)
        answer = await self._answer(state, before, request)
        if state.building is not None:
            await self.record.drop(state.building)
        return answer

    async def replay(self, request: Request) -> Progress | None:
        """The answer that was given to this request before, if it was. Raises `KeyReused`."""
        stored = await self._store.find_result(request.scope, request.key)
        if stored is None:
            return None
        if stored.fingerprint != request.fingerprint:
            raise KeyReused()
        return decode(Progress, stored.outcome)

    async def _answer(
        self,
        seen: Generations,
        state: Generations,
        request: Request | None,
        *,
        head_at_most: int | None = None,
    ) -> Progress:
        """Make this the state in the place of the one that was seen, and say how the projection is doing then."""
        progress = await self._progress(state)
        result = None if request is None else request.answered(encode_text(progress))
        await self.record.replace(seen, state, head_at_most=head_at_most, result=result)
        self._signal.fire()
        return progress

    async def held_up(self) -> int:
        """How many parked events keep the generation being built from becoming live; 0 while there is work to do."""
        building = (await self.record.refresh()).building
        if building is None:
            return 0
        name = self.record.subscription(building.number)
        if await self._store.checkpoint(name) < await self._store.head():
            return 0
        parked = await self._store.parked(name)
        return 0 if any(entry.wish for entry in parked) else len(parked)

    async def handles(self, subscription: str) -> bool:
        """Whether what an operator asks for of this projection's subscription is carried out."""
        state = await self.record.refresh()
        read = [state.building] if self._in_step() else [state.live, state.building]
        return subscription in [self.record.subscription(generation.number) for generation in read if generation]

    async def progress(self) -> Progress:
        """How the projection is doing now."""
        return await self._progress(await self.record.refresh())

    async def _progress(self, state: Generations) -> Progress:
        head = await self._store.head()
        live, building, previous = (
            generation.number if generation else 0 for generation in (state.live, state.building, state.previous)
        )
        in_step = state.live is not None and state.live.inline
        position = head if in_step else await self._store.checkpoint(self.record.subscription(live))
        return Progress(
            module=self._module,
            projection=self.kind.name,
            version=self.kind.version,
            inline=self.kind.inline,
            live=live,
            previous=previous,
            building=building,
            position=position,
            head=head,
            lag=max(0, head - position),
            built=await self._store.checkpoint(self.record.subscription(building)) if building else 0,
            parked=len(await self._parked(state.live)) if state.live else 0,
            parked_building=len(await self._parked(state.building)) if state.building else 0,
        )

    async def differences(self, events: Events) -> AsyncIterator[str]:
        """Yield a sentence for each row of the live generation that isn't what the events say."""
        state = await self.record.refresh()
        if state.live is None:
            return
        if not self.record.is_current(state.live):
            log.warning("a read model of another version of the program isn't verified", projection=self.kind.name)
            return
        name = self.record.subscription(state.live.number)
        left_out = {entry.position for entry in await self._store.parked(name)} | set(await self._store.dropped(name))
        async for problem in differing_rows(
            self.kind,
            self._events,
            self._store,
            state.live.number,
            events,
            None if state.live.inline else name,
            left_out,
        ):
            yield problem
