"""Runs a policy: the handler of its subscription to one module's feed.

The events of a page are handled in parallel, except that those with the same key are handled in order. The commands of
a reaction have keys made from the event's id, so a page that is read again, by this process or another, has no second
effect. An effect outside, such as sending a letter, is repeated if the process dies, or another one takes over, before
the page is written as done. So a page holds only a few events, and before each reaction the process makes sure that no
other process has taken over.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import structlog

from craton.application.command_keys import CommandKeys
from craton.application.context import Context, entered
from craton.application.errors import AnswerNotKept, CallFailed, KeyReused, Unavailable
from craton.application.policy import Policy
from craton.application.upcasting import EventTypes, stored_names
from craton.domain import DomainError, Event, Recorded, world
from craton.ports import FenceLost, StoredEvent, StoreUnavailable
from craton.ports.crash import crash_point
from craton.ports.wellformed import require_storable
from craton.runtime.process.attempt import ATTEMPT_SECONDS, attempt, heed_cancellation
from craton.runtime.projections.handler import describe, located
from craton.runtime.subscriptions.feed import EventPage
from craton.runtime.subscriptions.handler import Failed, Handled
from craton.runtime.subscriptions.subscription import MAX_AT_ONCE

MAX_CONCURRENT_REACTIONS: Final = MAX_AT_ONCE

React = Callable[[Recorded[Any]], Awaitable[None]]
"""What is done for each event."""

log = structlog.get_logger("craton.policy")


def by_stream(event: Recorded[Any]) -> str:
    """Keeps events of one aggregate in order."""
    return event.stream


class PolicyHandler:
    """Calls `react` for each event of some kinds."""

    def __init__(
        self,
        name: str,
        kinds: Sequence[type[Event]],
        react: React,
        policy: type[Policy],
        types: EventTypes,
        key: Callable[[Recorded[Any]], str],
    ) -> None:
        self.name = name
        self._types = types
        self._key = key
        self.names = stored_names(kinds)
        self._react = react
        self._retry = policy.retry
        self._patience = policy.patience
        self._places = asyncio.Semaphore(MAX_CONCURRENT_REACTIONS)
        self.is_owned: Callable[[], Awaitable[bool]] = _always
        """Whether this process may still react."""

    def concerns(self, event: StoredEvent) -> bool:
        """Whether it reacts to an event."""
        return event.type in self.names

    def key(self, event: StoredEvent) -> str:
        if event.type not in self.names:
            return event.stream
        try:
            key = self._key(self._types.recorded(event))
            require_storable(key)
        except Exception as problem:  # it can't be decoded, which `react` reports as well; or the key isn't a name
            log.warning(
                "the key of an event could not be computed",
                policy=self.name,
                position=event.position,
                reason=describe(problem),
            )
            return event.stream
        return key

    async def reset(self) -> None:
        """Do nothing: the handler keeps nothing from page to page."""

    async def handle(self, page: EventPage, events: Sequence[StoredEvent]) -> Handled:
        queues: dict[str, list[StoredEvent]] = {}
        for event in events:
            if event.type in self.names:
                queues.setdefault(self.key(event), []).append(event)
        failed = await asyncio.gather(*(self._in_order(page, queue) for queue in queues.values()))
        if None in failed:
            raise FenceLost(f"another process may run {self.name} now")
        return Handled((), [failure for failures in failed for failure in failures or ()])

    async def _in_order(self, page: EventPage, events: Sequence[StoredEvent]) -> list[Failed] | None:
        """React to events one after the other. Returns those that failed; None if the lease may have passed to
        another."""
        for place, event in enumerate(events):
            try:
                async with self._places:
                    error = await self._try(page, event)
            except FenceLost:
                return None
            if error is not None:
                return [Failed(event, error), *(Failed(later, "") for later in events[place + 1 :])]
        return []

    async def _try(self, page: EventPage, event: StoredEvent) -> str | None:
        """React; return the reason why it failed, or None if it succeeded. Raises `FenceLost`.

        If something can't be reached, this waits: the event isn't the cause, and another process would fail too.
        """
        tried, failed, patience = 0, 0, world.monotonic() + self._patience.total_seconds()
        while True:
            heed_cancellation()
            tried += 1
            await self._require_ownership()
            try:
                await self._once(page.recorded(event), is_repeated=tried > 1)
            except (KeyReused, AnswerNotKept) as used:
                return describe(used)
            except Exception as problem:
                if isinstance(problem, DomainError) and not problem.temporary:
                    return describe(problem)
                failed += not isinstance(problem, Unavailable)
                reason = describe(problem) if isinstance(problem, DomainError | CallFailed) else located(problem)
                if failed >= self._retry.attempts or world.monotonic() > patience:
                    return reason
                about = {"policy": self.name, "position": event.position, "type": event.type}
                log.info("a policy will try again", **about, reason=reason)
                await asyncio.sleep(self._retry.pause_after(tried).total_seconds())
            else:
                return None

    async def _require_ownership(self) -> None:
        try:
            owned = await self.is_owned()
        except StoreUnavailable:
            owned = False
        if not owned:
            raise FenceLost(self.name)

    async def _once(self, event: Recorded[Any], *, is_repeated: bool) -> None:
        context = Context(
            id=event.id,
            actor=f"policy:{self.name}",
            tenant=event.metadata.tenant,
            correlation=event.metadata.correlation,
            deadline=world.monotonic() + ATTEMPT_SECONDS,
            command_keys=CommandKeys(f"{self.name}/{event.id}", is_repeated=is_repeated, keeps_refusals=False),
        )
        with entered(context):
            await attempt(self._react(event))
            crash_point("policy.reacted")


async def _always() -> bool:
    return True
