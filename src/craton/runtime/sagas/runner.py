"""Drives the sagas of one module.

What it guarantees, and why it holds:
- What a saga needs is in its stream alone. The process that owns the subscription drives what the feed tells it of, and
  looks up what is due; when it dies the lease passes, and another goes on from the streams.
- Two processes may both believe that they are the owner. Each report is guarded by the version of the stream and fits
  only the state that asked for it, and each command that a step gives has a key: driving a saga twice is harmless.
- While two versions of a program run on one store, only one of them owns the subscription. The other's sagas, which
  have another definition, are looked up by one process of that version: it holds a lease named for its definitions.
- Nothing is sent before its intent is durable, because an action is planned by a commit and run after it.
- The number of sagas driven at a time is bounded for each kind separately, so sagas of one kind that hang don't keep
  those of other kinds waiting. Sagas beyond the bound are found again by their due time.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from craton.application.api import OperationDefinition, operation_of
from craton.application.context import Context
from craton.application.errors import CallFailed
from craton.application.page import MAX_PAGE_SIZE, Paging, within
from craton.application.sagas.actions import Action, ActionOutcome
from craton.application.sagas.definition import SagaDefinition
from craton.application.sagas.events import (
    CompensationBegun,
    EventArrived,
    SagaId,
    SagaRetried,
    SagaStarted,
    StepSkipped,
)
from craton.application.sagas.index import SagaRow
from craton.application.view import View
from craton.domain import DomainError
from craton.ports import ChangesetRefused, StoredEvent
from craton.ports.crash import crash_point
from craton.runtime.background import keep_running
from craton.runtime.commands.use_cases import UseCases
from craton.runtime.process.signal import POLL_SECONDS
from craton.runtime.projections.handler import describe
from craton.runtime.sagas.control import SagaControl, SagaProgress
from craton.runtime.sagas.log_lines import tell_outcome, tell_turn
from craton.runtime.sagas.steps import StepRunner
from craton.runtime.sagas.stranded import stranded
from craton.runtime.subscriptions.feed import EventPage
from craton.runtime.subscriptions.handler import Handled
from craton.runtime.subscriptions.lease import Lease
from craton.runtime.subscriptions.subscription import Subscription

SUBSCRIPTION: Final = "sagas"
MAX_DRIVEN: Final = 500
"""The most sagas of one kind that are driven at a time."""
STAND_IN_AFTER: Final = timedelta(seconds=1)
"""How long a saga may be due before a process drives it that doesn't own the subscription: if the owner has the same
definitions, it has driven the saga by then."""
SHORT_PAUSE_SECONDS: Final = 2.0
"""A saga that continues within this time keeps its driver."""
_WAKING: Final = frozenset(kind.__name__ for kind in (EventArrived, SagaRetried, StepSkipped, CompensationBegun))
_LOOK: Final = operation_of(SagaControl.look)
_EXPIRE: Final = operation_of(SagaControl.expire)
_REPORT: Final = operation_of(SagaControl.report)

log = structlog.get_logger("craton.sagas")


class SagaRunner:
    """Drives sagas; it is also the handler of the subscription that reports their events."""

    def __init__(
        self,
        definitions: dict[str, SagaDefinition[Any]],
        steps: dict[str, StepRunner],
        use_cases: UseCases,
        rows: View[SagaRow],
        clock: Callable[[], datetime],
        lease: Lease,
    ) -> None:
        self._lease = lease
        """Held by one process of those that have these definitions."""
        self._definitions = definitions
        self._steps = steps
        self._use_cases = use_cases
        self._rows = rows
        self._clock = clock
        self._driven: dict[SagaId, _Driven] = {}
        self._counts: Counter[str] = Counter()
        self._has_warned = False

    @property
    def is_acting(self) -> bool:
        """Whether any saga is being driven that doesn't only wait for its time."""
        return any(not driven.is_waiting for driven in self._driven.values())

    # --- the subscription's handler ---------------------------------------------------------------------------------

    def concerns(self, event: StoredEvent) -> bool:
        return False

    def key(self, event: StoredEvent) -> str:
        return event.stream

    async def reset(self) -> None:
        """Do nothing: the handler keeps nothing of the feed, because due sagas are looked up."""

    async def handle(self, page: EventPage, events: Sequence[StoredEvent]) -> Handled:
        for event in events:
            begins = event.type == SagaStarted.__name__
            if begins or event.type in _WAKING:
                kind = msgspec.json.decode(event.data, type=_Started).saga if begins else ""
                self._wake(SagaId(event.stream.partition("-")[2]), kind)
        return Handled(())

    # --- which sagas are driven -------------------------------------------------------------------------------------

    async def run(self, subscription: Subscription) -> None:
        """Look for due sagas as long as this process is the owner, until cancelled."""
        try:
            await keep_running("sagas that are due", partial(self._look_up_due, subscription))
        finally:
            tasks = [driven.task for driven in self._driven.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._lease.release()

    async def _look_up_due(self, subscription: Subscription) -> None:
        if not self._has_warned:
            await self._warn_of_stranded()
            self._has_warned = True
        stands_in = await self._lease.hold() is not None
        if subscription.owned:
            await self._wake_due(timedelta(microseconds=-1))
        elif stands_in:
            await self._wake_due(STAND_IN_AFTER)
        await asyncio.sleep(POLL_SECONDS)

    async def _warn_of_stranded(self) -> None:
        """Log how many sagas haven't ended that this program can't continue."""
        for (kind, fingerprint), count in (await stranded(self._definitions, self._rows)).items():
            about = {"saga": kind, "fingerprint": fingerprint, "count": count}
            log.error("sagas of another definition wait for a program that has it", **about)

    async def _wake_due(self, late_by: timedelta) -> None:
        """Start driving the sagas that were due so long ago, that this program has the definition of, and that it
        doesn't drive yet."""
        for definition in self._definitions.values():
            for fingerprint in definition.fingerprints:
                await self._wake_due_of(definition, fingerprint, late_by)

    async def _wake_due_of(self, definition: SagaDefinition[Any], fingerprint: str, late_by: timedelta) -> None:
        until, paging = self._clock() - late_by, Paging(1, MAX_PAGE_SIZE)
        while self._counts[definition.name] < MAX_DRIVEN:
            due = await self._rows.page(
                kind=definition.name,
                fingerprint=fingerprint,
                due_at=within(None, until),
                order="due_at",
                paging=paging,
            )
            for row in due.items:
                if row.saga not in self._driven:
                    self._wake(row.saga, definition.name)
            if paging.page >= due.total_pages:
                return
            paging = Paging(paging.page + 1, MAX_PAGE_SIZE)

    def _wake(self, saga: SagaId, kind: str) -> None:
        """Drive a saga, or wake its driver. Sagas whose event doesn't tell their kind have a bound of their own."""
        if saga in self._driven:
            self._driven[saga].nudge()
        elif self._counts[kind] < MAX_DRIVEN:
            self._counts[kind] += 1
            driven = self._driven[saga] = _Driven(kind)
            driven.task = asyncio.create_task(self._drive(saga, driven), name=f"saga {saga}")
            driven.task.add_done_callback(partial(self._let_go, saga))

    def _let_go(self, saga: SagaId, task: asyncio.Task[None]) -> None:
        driven = self._driven.pop(saga)
        self._counts[driven.kind] -= 1
        if driven.nudged.done() and not task.cancelled():
            self._wake(saga, driven.kind)

    # --- driving one ------------------------------------------------------------------------------------------------

    async def _drive(self, saga: SagaId, driven: "_Driven") -> None:
        """Run the saga's actions until it has ended, or nothing is to be done for a while."""
        running: dict[Action, asyncio.Task[ActionOutcome]] = {}
        try:
            progress = await self._look(saga)
            while await self._wait(saga, driven, progress, running):
                ended = [action for action, task in running.items() if task.done()]
                for action in ended:
                    outcome = running.pop(action).result()
                    crash_point("saga.acted")
                    before = progress.state.status
                    progress = await self._ask(_REPORT, progress, saga=saga, action=action, outcome=outcome)
                    crash_point("saga.reported")
                    tell_outcome(saga, action, outcome, progress.state)
                    tell_turn(saga, before, progress.state)
                if not ended:
                    before = progress.state.status
                    progress = await self._look(saga)
                    tell_turn(saga, before, progress.state)
        except (CallFailed, DomainError, ChangesetRefused) as problem:
            log.warning("a saga can't continue now and will be tried again", saga=saga, reason=describe(problem))
        except Exception:
            log.exception("a saga could not be driven because of an error", saga=saga)
        finally:
            for task in running.values():
                task.cancel()
            await asyncio.gather(*running.values(), return_exceptions=True)

    async def _wait(
        self,
        saga: SagaId,
        driven: "_Driven",
        progress: SagaProgress,
        running: dict[Action, asyncio.Task[ActionOutcome]],
    ) -> bool:
        """Begin what is planned, drop what isn't any more, and wait. False when there is nothing to wait for here."""
        for action in [action for action in running if action not in progress.actions]:
            running.pop(action).cancel()
        for action in progress.actions:
            if action not in running:
                crash_point("saga.planned")
                steps = self._steps[progress.state.saga]
                running[action] = asyncio.create_task(steps.run(saga, progress.state, action))
        pause = None if progress.look_at is None else max(0.0, (progress.look_at - self._clock()).total_seconds())
        if not running and not driven.nudged.done() and (pause is None or pause > SHORT_PAUSE_SECONDS):
            return False
        awaited: list[asyncio.Future[Any]] = [*running.values(), driven.nudged]
        driven.is_waiting = not running
        await asyncio.wait(awaited, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
        driven.is_waiting = False
        driven.calm()
        return True

    async def _look(self, saga: SagaId) -> SagaProgress:
        progress = await self._ask(_LOOK, None, saga=saga)
        return await self._ask(_EXPIRE, progress, saga=saga) if progress.is_late else progress

    async def _ask(
        self, operation: OperationDefinition, progress: SagaProgress | None, **arguments: Any
    ) -> SagaProgress:
        state = None if progress is None else progress.state
        context = Context(
            actor="saga",
            tenant=None if state is None else state.tenant,
            correlation=None if state is None else state.correlation,
        )
        answer: SagaProgress = (await self._use_cases.run(operation, arguments, context)).result
        return answer


class _Started(msgspec.Struct):
    """The part of `SagaStarted` that tells the kind of the saga."""

    saga: str


class _Driven:
    """A saga that is being driven, and whether events have arrived that its driver hasn't seen."""

    task: asyncio.Task[None]

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.is_waiting = False
        """Whether it only waits for its time, or for an event."""
        self.nudged: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def nudge(self) -> None:
        if not self.nudged.done():
            self.nudged.set_result(None)

    def calm(self) -> None:
        """Note that the driver is about to look."""
        if self.nudged.done():
            self.nudged = asyncio.get_running_loop().create_future()
