"""Timers: commands that a unit of work has scheduled, run when their time has come.

A timer is deleted in the commit of its own command, so it takes effect once. One process runs them, by a lease, so that
two don't get into each other's way; should two believe that they hold it, one of them finds the timer gone. A command
that is refused is done too: its refusal is the answer.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import structlog

from craton.application.api import Api
from craton.application.codec import convert
from craton.application.context import Context
from craton.domain import DomainError
from craton.ports import Store, StoreUnavailable, Timer, Unit, UnitRefused
from craton.ports.crash import reach
from craton.runtime.attempt import heed_cancellation
from craton.runtime.lease import Lease
from craton.runtime.signal import POLL_SECONDS, Signal
from craton.runtime.use_cases import UseCases

TOGETHER: Final = 100
RETRY_SECONDS: Final = 5.0
LEASE: Final = "timers"

log = structlog.get_logger("craton.timers")


class TimerRunner:
    """Runs the due timers of one module."""

    def __init__(
        self,
        api: type[Api],
        use_cases: UseCases,
        store: Store,
        signal: Signal,
        owner: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._lease = Lease(store, LEASE, owner)
        self._api = api
        self._use_cases = use_cases
        self._store = store
        self._signal = signal
        self._clock = clock

    async def run(self) -> None:
        """Run what is due whenever this process holds the lease, until cancelled."""
        try:
            while True:
                heed_cancellation()
                seen = self._signal.seen()
                ran, due = 0, None
                try:
                    if await self._lease.hold() is not None:
                        due = await self._store.next_timer()
                        ran = await self._run_due() if due is not None and due <= self._clock() else 0
                except StoreUnavailable as problem:
                    log.warning("the store is unavailable", reason=str(problem))
                except Exception:
                    log.exception("timers failed and will go on")
                if not ran:
                    seconds = (due - self._clock()).total_seconds() if due else POLL_SECONDS
                    await self._signal.wait(seen, max(0.01, min(seconds, POLL_SECONDS)))
        finally:
            await self._lease.release()

    async def _run_due(self) -> int:
        due = await self._store.due_timers(self._clock(), TOGETHER)
        if due:
            reach("timer.read")
        await asyncio.gather(*(self._run_one(timer) for timer in due))
        return len(due)

    async def _run_one(self, timer: Timer) -> None:
        operation = self._api.operations.get(timer.operation)
        try:
            if operation is None or operation.kind != "command":
                raise LookupError(f"there is no command {timer.operation!r} any more")
            plain: dict[str, Any] = msgspec.json.decode(timer.arguments)
            arguments = convert(plain, operation.arguments)
            metadata: dict[str, str] = msgspec.json.decode(timer.metadata)
            context = Context(actor="timer", key=timer.id, correlation=metadata.get("correlation"))
            named = {name: getattr(arguments, name) for name in operation.parameters}
            await self._use_cases.run(operation, named, context, timer=timer.id)
        except DomainError as refusal:
            log.info("a timer's command was refused", operation=timer.operation, code=refusal.code)
        except UnitRefused:
            log.debug("another process ran the timer", timer=timer.id)
        except Exception:
            log.exception("a timer's command failed and will be tried again", operation=timer.operation)
            await self._postpone(timer)

    async def _postpone(self, timer: Timer) -> None:
        """Give it another time, so that those behind it have their turn."""
        later = msgspec.structs.replace(timer, due=self._clock() + timedelta(seconds=RETRY_SECONDS))
        await self._store.write([Unit(timers_done=[timer.id], timers=[later])])
