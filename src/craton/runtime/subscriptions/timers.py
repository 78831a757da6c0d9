"""Timers: commands that a unit of work has scheduled, run when their time has come.

- A timer is deleted in the commit of its own command, so it takes effect once. One process runs the timers, by a lease,
  so that two don't collide. If two believe that they hold the lease, one of them finds the timer gone.
- A bounded number of timers runs at the same time, each for a bounded time. A command that doesn't end occupies one
  place, but neither other timers nor the lease wait for it.
- A refusal is an answer too: the timer is done. A temporary refusal and any other failure are tried again, after pauses
  that double. After ten failures the timer is parked: it is kept for an operator and not tried any more. What is only
  out of reach doesn't count as a failure.
- A timer that this program can't read is parked at once: its command is gone, or its arguments don't fit any more. It
  may come from another version of the program; a process that can read it tries it again when it takes over.
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import structlog
from msgspec.structs import replace

from craton.application.api import Api, OperationDefinition
from craton.application.codec import decode
from craton.application.command_keys import CommandKey
from craton.application.context import Context
from craton.application.errors import DeadlineExceeded, Unavailable
from craton.application.retry import Retry, minutes, seconds
from craton.domain import DomainError, world
from craton.ports import Changeset, Fence, FenceLost, KeyTaken, Timer
from craton.ports.crash import crash_point
from craton.runtime.background import ERROR_PAUSE_SECONDS, Background, keep_running
from craton.runtime.commands.use_cases import UseCases
from craton.runtime.process.attempt import ATTEMPT_SECONDS, attempt
from craton.runtime.process.signal import POLL_SECONDS
from craton.runtime.projections.handler import describe
from craton.runtime.subscriptions.lease import ASK_SECONDS, Lease
from craton.runtime.subscriptions.parked import MAX_ERROR_LENGTH

MAX_RUNNING: Final = 100
"""How many timers run at the same time."""
RETRY: Final = Retry(attempts=10, pause=seconds(5), longest_pause=minutes(10))
LEASE: Final = "timers"
TOGETHER_SECONDS: Final = 0.02
"""The time within which commits share a look at the timers; each may have scheduled one."""

log = structlog.get_logger("craton.timers")


class Unreadable(Exception):
    """This program can't read a timer."""


class TimerRunner:
    """Runs the due timers of one module."""

    def __init__(self, api: type[Api], use_cases: UseCases, background: Background) -> None:
        self._lease = Lease(background.store, LEASE, background.owner)
        self._fence: Fence | None = None
        self._api = api
        self._use_cases = use_cases
        self._store = background.store
        self._commit = background.commit
        self._signal = background.signal
        self._clock = background.clock
        self._running: set[str] = set()

    async def run(self) -> None:
        """Run due timers whenever this process holds the lease, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                await keep_running("timers", lambda: self._start_due_and_wait(group))
        finally:
            await self._lease.release()

    async def _start_due_and_wait(self, group: asyncio.TaskGroup) -> None:
        seen = self._signal.seen()
        fence = await self._own()
        if fence is None:
            await asyncio.sleep(ASK_SECONDS)
            return
        pause = await self._start_due(group, fence)
        await asyncio.sleep(min(pause, TOGETHER_SECONDS))
        await self._signal.wait(seen, pause)

    async def _own(self) -> Fence | None:
        number = await self._lease.hold()
        if number is None:
            return None
        if self._fence is None or self._fence.number != number:
            fence = Fence(LEASE, number)
            parked = await self._store.parked_timers()
            readable = [timer for timer in parked if timer.failures < RETRY.attempts and self._readable(timer)]
            again = [as_new(timer, self._clock()) for timer in readable]
            if readable and not await self._replace(readable, again, fence):
                return None  # an operator has changed a timer meanwhile
            self._fence = fence
        return self._fence

    async def _start_due(self, group: asyncio.TaskGroup, fence: Fence) -> float:
        """Start due timers, as far as there are free places. Returns the seconds until the next look."""
        now, due = self._clock(), await self._store.next_timer()
        if due is None:
            return POLL_SECONDS
        if due > now:
            return max(0.01, min((due - now).total_seconds(), POLL_SECONDS))
        running = set(self._running)  # the records of timers that end meanwhile are out of date
        timers = [timer for timer in await self._store.due_timers(now, MAX_RUNNING) if timer.id not in running]
        if timers:
            crash_point("timer.read")
        for timer in timers[: MAX_RUNNING - len(self._running)]:
            self._running.add(timer.id)
            group.create_task(self._run_one(timer, fence))
        return POLL_SECONDS

    async def _run_one(self, timer: Timer, fence: Fence) -> None:
        try:
            deadline = world.monotonic() + ATTEMPT_SECONDS
            await attempt(self._command(timer, deadline), ATTEMPT_SECONDS)
        except Exception as problem:
            await self._settle(timer, problem, fence)
        finally:
            if len(self._running) == MAX_RUNNING:
                self._signal.fire()  # other timers wait for this place
            self._running.discard(timer.id)

    async def _command(self, timer: Timer, deadline: float) -> None:
        operation, arguments = self._read(timer)
        metadata: dict[str, str] = msgspec.json.decode(timer.metadata)
        context = Context(
            actor="timer",
            key=CommandKey(timer.id, is_repeated=timer.attempts > 0),
            correlation=metadata.get("correlation"),
            deadline=deadline,
        )
        answer = await self._use_cases.run(operation, arguments, context, timer=timer.id)
        if isinstance(answer.result, DomainError):
            log.info("a timer's command was refused", operation=timer.operation, reason=describe(answer.result))

    def _read(self, timer: Timer) -> tuple[OperationDefinition, dict[str, Any]]:
        """The command and its arguments. Raises `Unreadable`."""
        operation = self._api.operations.get(timer.operation)
        if operation is None or operation.kind != "command":
            raise Unreadable(f"there is no command {timer.operation!r}")
        try:
            arguments = decode(operation.arguments, timer.arguments)
        except Exception as problem:
            raise Unreadable(describe(problem)) from problem
        return operation, {name: getattr(arguments, name) for name in operation.parameters}

    def _readable(self, timer: Timer) -> bool:
        try:
            self._read(timer)
        except Unreadable:
            return False
        return True

    async def _settle(self, timer: Timer, problem: Exception, fence: Fence) -> None:
        """Record the fate of a timer whose command failed, or was refused without a commit."""
        refused = isinstance(problem, DomainError) and not problem.temporary
        later = self._later(timer, problem)
        try:
            if not await self._replace([timer], [] if refused else [later], fence):
                return  # the timer is done: in the commit of its command, or by another process
        except FenceLost:
            self._lease.lose()
            return
        except Exception as trouble:
            log.warning(
                "the outcome of a timer could not be recorded", operation=timer.operation, reason=describe(trouble)
            )
            await asyncio.sleep(ERROR_PAUSE_SECONDS)
            return
        told = {"operation": timer.operation, "timer": timer.id, "reason": later.error}
        if refused:
            log.info("a timer's command was refused", **told)
        elif later.parked:
            log.error("a timer was parked", exc_info=problem, **told)
        else:
            log.warning("a timer's command failed and will be tried again", **told)

    def _later(self, timer: Timer, problem: Exception) -> Timer:
        attempts = timer.attempts + 1
        out_of_reach = isinstance(problem, Unavailable) and not isinstance(problem, DeadlineExceeded)
        unreadable = isinstance(problem, Unreadable)
        failures = timer.failures + (not out_of_reach and not unreadable)
        parked = unreadable or failures >= RETRY.attempts
        return replace(
            timer,
            due=timer.due if parked else self._clock() + RETRY.pause_after(attempts),
            attempts=attempts,
            failures=failures,
            error=describe(problem)[:MAX_ERROR_LENGTH],
            parked=parked,
        )

    async def _replace(self, timers: Sequence[Timer], by: Iterable[Timer], fence: Fence | None = None) -> bool:
        """Replace timers by what remains of them. Returns False, and writes nothing, if one of them is already gone."""
        try:
            await self._commit(Changeset(timers_done=[timer.id for timer in timers], timers=list(by), fence=fence))
        except KeyTaken:
            return False
        return True


def as_new(timer: Timer, now: datetime) -> Timer:
    """A parked timer, ready to be tried with all its attempts."""
    return replace(timer, due=now, attempts=0, failures=0, error="", parked=False)
