"""One command on its way from the call to its commit.

A command runs, hands in its unit of work and is answered when that is durable. It runs again
- when a version it relied on has changed, then taking turns with those it collided with;
- when it ended in a refusal or without a change after reading from memory: only the store is believed in that.
Use cases have no outside effects, so running them again is safe. A command with an idempotency key leaves its answer,
refusals included, in the same commit.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from craton.application.api import Api, OperationDefinition
from craton.application.context import Context
from craton.application.errors import AlreadyExists, MisuseError, Unavailable, ValueTaken
from craton.application.unit_of_work import UnitOfWork, enter_unit, leave_unit
from craton.domain import DomainError, world
from craton.domain.aggregate import AnyAggregate, recording
from craton.ports import (
    Changeset,
    DocumentChanged,
    KeyTaken,
    NotUnique,
    SerializationConflict,
    Store,
    StoredResult,
    VersionConflict,
)
from craton.ports.crash import crash_point
from craton.runtime.commands.aggregates import Aggregates
from craton.runtime.commands.changes import Collector, LocalConflict, require_added
from craton.runtime.commands.preconditions import hold_precondition
from craton.runtime.commands.queueing import Queues
from craton.runtime.commands.results import (
    Answer,
    Request,
    Results,
    kept_refusal,
    kept_result,
    require_refusal_can_be_kept,
)
from craton.runtime.committer import Committer, PendingCommit
from craton.runtime.projections.inline import InlineProjections
from craton.runtime.projections.live_view import NotInStep

MAX_COLLIDING_SECONDS: Final = 5.0
"""How long a command is repeated while others keep changing its aggregates."""
FIRST_PAUSE_SECONDS: Final = 0.001
LONGEST_PAUSE_SECONDS: Final = 0.1


class _RunAgain(Exception):
    """The attempt read from memory and can't be trusted; the next attempt reads the store."""


class Resources:
    """What the commands of one module share."""

    def __init__(
        self,
        module: str,
        store: Store,
        aggregates: Aggregates,
        committer: Committer,
        inline: InlineProjections,
        clock: Callable[[], datetime],
    ) -> None:
        self.module = module
        self.store = store
        self.aggregates = aggregates
        self.committer = committer
        self.inline = inline
        self.clock = clock
        self.collector = Collector(aggregates, inline)
        self.results = Results(module, store)
        self.queues = Queues()


class Execution:
    """One command. `timer` is the timer that asked for it; the timer is done in the command's commit."""

    def __init__(
        self,
        resources: Resources,
        service: Api,
        operation: OperationDefinition,
        arguments: dict[str, Any],
        context: Context,
        timer: str | None,
    ) -> None:
        self._resources = resources
        self._service = service
        self._operation = operation
        self._arguments = arguments
        self._context = context
        self._timer = timer
        self.request: Request | None = None
        """The request whose key the answer is kept under, if it has a key."""

    def keeps(self, refusal: DomainError) -> bool:
        """Whether a refusal is kept as the final answer to its key: always if changes were committed with it."""
        key = self._context.key
        return not refusal.temporary and (refusal.keeps_changes or key is None or key.keeps_refusals)

    async def run(self) -> Answer:
        """Repeat attempts until there is an answer. Raises the refusal that it ends in, and `Unavailable`."""
        fresh, collided = False, set[str]()
        pause = FIRST_PAUSE_SECONDS
        until = world.monotonic() + MAX_COLLIDING_SECONDS
        while world.monotonic() < until:
            unit = UnitOfWork(
                self._resources.module, self._resources.store, self._context, self._resources.clock, fresh=fresh
            )
            try:
                return await self._attempt(unit, collided)
            except _RunAgain:
                fresh = True
            except DocumentChanged:
                await self._resources.inline.refresh()
            except NotInStep:
                if not await self._resources.inline.refresh():
                    raise
            except (VersionConflict, SerializationConflict) as conflict:
                answer = await self._after_conflict(unit, conflict, again=bool(collided))
                if answer is not None:
                    return answer
                collided, fresh = set(unit.tracked), False
                await asyncio.sleep(world.jitter(pause))
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            except KeyTaken:
                self._resources.aggregates.forget(set(unit.tracked))
                if self.request is None:
                    raise
                return await self._resources.results.given(self._operation, self.request)
            except NotUnique as taken:
                return await self._refuse(ValueTaken(field=taken.column))
            finally:
                unit.closed = True
        raise Unavailable("Other commands kept changing the same data; try again.", maybe_executed=False)

    async def _attempt(self, unit: UnitOfWork, collided: set[str]) -> Answer:
        if collided:
            async with self._resources.queues.take(collided):
                result, commit = await self._decide(unit)
        else:
            result, commit = await self._decide(unit)
        position = commit if isinstance(commit, int) else await self._durable(commit, unit)
        crash_point("call.committed")
        if isinstance(result, DomainError) and (self._timer is None or result.temporary):
            raise result
        return Answer(result, position, module=self._resources.module)

    async def _after_conflict(self, unit: UnitOfWork, conflict: Exception, *, again: bool) -> Answer | None:
        """The answer that another process has left under the key; None: run another attempt.

        Raises `AlreadyExists` for an aggregate that was added here and, the second time too, existed already.
        """
        if not isinstance(conflict, LocalConflict):
            self._resources.aggregates.forget(set(unit.tracked))
            if self.request is not None:
                replay = await self._resources.results.look_up(self._operation, self.request)
                if replay is not None:
                    return replay
        tracked = unit.tracked.get(getattr(conflict, "stream", "")) if again else None
        if tracked is None or not tracked.added or self._resources.aggregates.pending(tracked.aggregate.stream):
            return None
        return await self._refuse(AlreadyExists(id=str(tracked.aggregate.id)))

    async def _refuse(self, refusal: DomainError) -> Answer:
        """Raise a refusal that came from the commit, as the answer to the key; return the key's answer if it has
        one."""
        if self.request is not None and self.keeps(refusal):
            try:
                await self._resources.committer.submit(self._without_changes(kept_refusal(self.request, refusal)))
            except KeyTaken:
                return await self._resources.results.given(self._operation, self.request)
        raise refusal

    async def _decide(self, unit: UnitOfWork) -> tuple[Any, PendingCommit | int]:
        """Run the use case and hand in its changes.

        Returns its result (or refusal), and the commit or, if there is none to wait for, the position.
        """
        token = enter_unit(unit)
        noted: list[AnyAggregate] = []
        noting = recording.set(noted)
        try:
            result = await self._result()
            require_added(unit, noted, self._operation)
            stale = hold_precondition(unit)
            if stale is not None:
                raise stale
            self._require_replayable(unit)
        except DomainError as problem:
            await _roll_back(unit, problem)
            return await self._refused(unit, hold_precondition(unit, problem) or problem)
        except BaseException as problem:
            await _roll_back(unit, problem)
            raise
        finally:
            recording.reset(noting)
            leave_unit(token)
        unit.closed = True
        crash_point("call.decided")
        try:
            kept = self._kept(result)
            if kept is None and await self._is_answered():
                raise KeyTaken("the key was used before")
            if not unit.dirty and unit.transaction is None and self._timer is None:
                _require_store_read(unit)
                if self.request is None:
                    return result, 0
            is_tried_later = isinstance(result, DomainError) and result.temporary
            changeset = self._resources.collector.collect(unit, kept, None if is_tried_later else self._timer)
            if (
                unit.transaction is not None
            ):  # it is written at once, without waiting for the commits that memory's states wait for
                _require_store_read(unit)
        except BaseException as problem:
            await _roll_back(unit, problem)
            raise
        if unit.transaction is not None:
            return result, await self._commit_transaction(unit, changeset)
        return result, self._hand_in(unit, changeset)

    async def _result(self) -> Any:
        """The result of the use case, or the refusal that keeps the changes made before it."""
        operation = self._operation
        try:
            # Each attempt gets its own copy of the arguments, because an earlier attempt may have changed them.
            result = await getattr(self._service, operation.name)(**operation.own(self._arguments))
        except DomainError as refusal:
            if not refusal.keeps_changes:
                raise
            return refusal
        return operation.shown(result)

    async def _refused(self, unit: UnitOfWork, refusal: DomainError) -> tuple[Any, PendingCommit]:
        """Hand in the refusal as the answer to the key. Raises the refusal if it isn't kept."""
        _require_store_read(unit)
        require_refusal_can_be_kept(refusal)
        if self.request is None or not self.keeps(refusal):
            raise refusal from None
        changeset = self._without_changes(kept_refusal(self.request, refusal))
        return refusal, self._resources.committer.submit(changeset)

    def _kept(self, result: Any) -> StoredResult | None:
        """What is stored under the key; None if there is no key or nothing is kept. Raises `NotStorable`."""
        if not isinstance(result, DomainError):
            return kept_result(self._operation, self.request, result)
        require_refusal_can_be_kept(result)
        return kept_refusal(self.request, result) if self.request is not None and self.keeps(result) else None

    async def _is_answered(self) -> bool:
        """Whether the key has an answer already. No commit finds out if this attempt leaves none."""
        if self.request is None:
            return False
        return await self._resources.results.look_up(self._operation, self.request) is not None

    def _without_changes(self, result: StoredResult) -> Changeset:
        return Changeset(result=result, timers_done=[self._timer] if self._timer else ())

    def _require_replayable(self, unit: UnitOfWork) -> None:
        for tracked in unit.tracked.values():
            self._resources.aggregates.require_replayable(tracked)

    def _hand_in(self, unit: UnitOfWork, changeset: Changeset) -> PendingCommit:
        bases: list[Any] = [tracked.base for tracked in unit.tracked.values() if tracked.base is not None]
        commit = self._resources.committer.submit(changeset, [base for base in bases if not base.done])
        for tracked, append in zip(unit.changed, changeset.appends, strict=True):
            self._resources.aggregates.handed_in(tracked.aggregate, commit, append.events[-1].time)
        return commit

    async def _durable(self, commit: PendingCommit, unit: UnitOfWork) -> int:
        """Wait for the commit. If it failed, units that build on it can't be trusted."""
        try:
            return await commit
        finally:
            if commit.failed:
                self._resources.aggregates.forget(set(unit.tracked))

    async def _commit_transaction(self, unit: UnitOfWork, changeset: Changeset) -> int:
        assert unit.transaction is not None and unit.stack is not None  # noqa: S101
        streams = {tracked.aggregate.stream for tracked in unit.changed}
        try:
            async with unit.stack:
                if unit.doomed:
                    raise MisuseError(
                        "a transaction was left by an exception, and the use case went on: it rolled back"
                    )
                position = await unit.transaction.write(changeset)
        finally:
            self._resources.aggregates.forget(streams)
        self._resources.committer.announce(position)
        return position


def _require_store_read(unit: UnitOfWork) -> None:
    """Raise `_RunAgain` if the attempt has read from memory, because no commit will check what it read."""
    if any(tracked.from_memory for tracked in unit.tracked.values()):
        raise _RunAgain


async def _roll_back(unit: UnitOfWork, problem: BaseException) -> None:
    if unit.stack is not None:
        stack, unit.stack = unit.stack, None
        await stack.__aexit__(type(problem), problem, problem.__traceback__)
