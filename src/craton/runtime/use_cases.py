"""Runs commands and queries: the one place where a use case becomes a commit.

A command runs, hands in its unit of work and is answered when that is durable. It runs again
- when a version it relied on has changed, then taking turns with those it collided with;
- when it ended in a refusal or without a change after reading from memory: only the store is believed in that.
Use cases have no outside effects, so running them again is safe. A command with an idempotency key leaves its answer,
refusals included, in the same commit; the same key later is answered from there. A refusal that isn't kept under the
key (it is temporary, or the caller doesn't want it kept) is given only after the key was looked up again: it may be
about what the same request has done in another process.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import structlog

from craton.application.api import FINGERPRINT_FORM, Api, Operation
from craton.application.codec import decode, encode_text, encode_to_keep, holds_secrets
from craton.application.context import Context, context_var
from craton.application.errors import (
    AlreadyExists,
    AnswerNotKept,
    KeyReused,
    MisuseError,
    Overtaken,
    Unavailable,
    UnusableKey,
    ValueTaken,
)
from craton.application.unit_of_work import UnitOfWork, current_unit, enter_unit, leave_unit, require_unit
from craton.application.upcasting import EventTypes
from craton.domain import Aggregate, DomainError, Metadata, uuid7
from craton.domain.aggregate import recording
from craton.ports import (
    Append,
    DocumentChanged,
    KeyTaken,
    NewEvent,
    NotUnique,
    SerializationConflict,
    Snapshot,
    Store,
    StoredResult,
    StoreUnavailable,
    Unit,
    VersionConflict,
)
from craton.ports.crash import reach
from craton.ports.wellformed import storable
from craton.runtime.aggregates import Aggregates
from craton.runtime.attempt import in_time
from craton.runtime.committer import Committer, PendingCommit
from craton.runtime.inline import InlineProjections
from craton.runtime.preconditions import hold_precondition
from craton.runtime.projections import NotInStep
from craton.runtime.refusals import Refusal, RefusedBefore, as_data, as_error
from craton.runtime.turns import Turns

COLLIDING_SECONDS: Final = 5.0
"""So long a command whose aggregates others keep changing is tried again."""
MAX_KEY_LENGTH: Final = 200
"""Of a client's key."""
LONGEST_KEY: Final = 1_000
"""Of any key: those of policies and sagas are made of several names."""
FIRST_PAUSE_SECONDS: Final = 0.001
LONGEST_PAUSE_SECONDS: Final = 0.1


log = structlog.get_logger("craton.calls")


class Answer(msgspec.Struct, frozen=True):
    """What a command or query came to; `position` is that of the last event it recorded, 0 if it recorded none."""

    result: Any
    position: int = 0
    replayed: bool = False
    module: str = ""
    """Whose position it is."""


class _Outcome(msgspec.Struct, frozen=True):
    """An answer as it is stored under an idempotency key."""

    result: msgspec.Raw = msgspec.Raw(b"null")
    refusal: Refusal | None = None
    withheld: bool = False
    """Whether the answer isn't kept, because it may hold a secret."""


class _RunAgain(Exception):
    """The attempt isn't to be believed; the next one reads the store."""


class _LocalConflict(VersionConflict):
    """Another command of this process has handed in a newer state; memory has it."""


class UseCases:
    """The use cases of one module."""

    def __init__(
        self,
        module: str,
        service: Api,
        store: Store,
        aggregates: Aggregates,
        committer: Committer,
        clock: Callable[[], datetime],
        inline: InlineProjections,
    ) -> None:
        self._module = module
        self._service = service
        self._store = store
        self._aggregates = aggregates
        self._committer = committer
        self._clock = clock
        self._inline = inline
        self._turns = Turns()

    async def run(
        self, operation: Operation, arguments: dict[str, Any], context: Context, *, timer: str | None = None
    ) -> Answer:
        """Run a use case. `timer` is the timer that asked for it, done in the same commit.

        A timer's refusal that was committed, so that the timer is done, is the answer's result and not raised.
        Raises what the use case raises, and `Unavailable` or `DeadlineExceeded`, which say whether it may have run.
        """
        remaining = context.remaining()
        token = context_var.set(context)
        try:
            if operation.kind == "query":
                return await _within(remaining, self._query(operation, arguments, context), executed=False)
            outer = current_unit()
            if outer is not None:
                require_unit(str(operation))
                return await self._join(outer, operation, arguments)
            return await _within(remaining, self._command(operation, arguments, context, timer), executed=True)
        except StoreUnavailable as problem:
            raise Unavailable(str(problem), maybe_executed=problem.maybe_executed) from problem
        finally:
            context_var.reset(token)

    async def _query(self, operation: Operation, arguments: dict[str, Any], context: Context) -> Answer:
        unit = UnitOfWork(self._module, self._store, context, self._clock, read_only=True, fresh=True)
        token = enter_unit(unit)
        try:
            result = await getattr(self._service, operation.name)(**arguments)
        finally:
            leave_unit(token)
        if unit.dirty:
            raise MisuseError(f"{operation} is a query, but it has changed something; make it a command")
        self._require_replayable(unit)
        return Answer(result)

    async def _join(self, outer: UnitOfWork, operation: Operation, arguments: dict[str, Any]) -> Answer:
        if outer.module != self._module or outer.read_only:
            what = "a query" if outer.read_only else f"a unit of work of the module {outer.module!r}"
            raise MisuseError(
                f"{operation} is a command of the module {self._module!r} and was called inside {what}: that would be "
                f"a dual write. Use a saga or a policy to change another module, or a query to ask it."
            )
        return Answer(await getattr(self._service, operation.name)(**arguments))

    async def _command(
        self, operation: Operation, arguments: dict[str, Any], context: Context, timer: str | None
    ) -> Answer:
        if context.key is None:
            return await self._attempts(operation, arguments, context, None, timer)
        require_usable_key(context.key)
        scope = encode_text([context.tenant, context.actor, str(operation)])
        request = StoredResult(scope, context.key, operation.fingerprint(arguments), "")
        async with self._turns.take([f"key {scope} {context.key}"]):
            if context.settles:
                return await self._overtake(operation, request)
            replay = None if context.key_is_new else await self._replay(operation, request)
            try:
                return replay or await self._attempts(operation, arguments, context, request, timer)
            except DomainError as refusal:
                replay = None if _is_kept(refusal, context) else await self._look_up_again(operation, request)
                if replay is None:
                    raise
                return replay

    async def _overtake(self, operation: Operation, request: StoredResult) -> Answer:
        """Answer with what came of the command with this key; if it hasn't run, take its key, so that it never will."""
        overtaken = Overtaken()
        try:
            await self._committer.submit(self._refusal(_refused(overtaken), request, None))
        except KeyTaken:
            return await self._answer_given(operation, request)
        raise overtaken

    async def _answer_given(self, operation: Operation, request: StoredResult) -> Answer:
        """The answer to a key of which the store has just said that it is taken."""
        replay = await self._look_up_again(operation, request)
        if replay is None:
            raise Unavailable("The idempotency key was taken, but its answer isn't there.", maybe_executed=True)
        return replay

    async def _look_up_again(self, operation: Operation, request: StoredResult) -> Answer | None:
        """The answer that another process may have left meanwhile: as long as that isn't known, it may have run."""
        try:
            return await self._replay(operation, request)
        except StoreUnavailable as problem:
            raise StoreUnavailable(str(problem), maybe_executed=True) from problem

    async def _replay(self, operation: Operation, request: StoredResult) -> Answer | None:
        """The answer that the key was given before. Raises `KeyReused`, `AnswerNotKept`, or the refusal that it was."""
        stored = await self._store.find_result(request.scope, request.key)
        if stored is None:
            return None
        if stored.fingerprint != request.fingerprint and stored.fingerprint.startswith(FINGERPRINT_FORM):
            raise KeyReused()
        outcome = msgspec.json.decode(stored.outcome, type=_Outcome)
        if outcome.refusal is not None:
            error = RefusedBefore(reason=outcome.refusal.code) if outcome.withheld else as_error(outcome.refusal)
            error.__dict__["replayed"] = True
            raise error
        if outcome.withheld:
            raise AnswerNotKept()
        try:
            result = decode(operation.result, bytes(outcome.result))
        except Exception as problem:
            log.warning("an answer is of another form than it is today", operation=str(operation), reason=repr(problem))
            raise AnswerNotKept() from problem
        return Answer(result, stored.position, replayed=True, module=self._module)

    async def _attempts(
        self,
        operation: Operation,
        arguments: dict[str, Any],
        context: Context,
        request: StoredResult | None,
        timer: str | None,
    ) -> Answer:
        fresh, collided = False, set[str]()
        pause = FIRST_PAUSE_SECONDS
        until = time.monotonic() + COLLIDING_SECONDS
        while time.monotonic() < until:
            unit = UnitOfWork(self._module, self._store, context, self._clock, fresh=fresh)
            try:
                if collided:
                    async with self._turns.take(collided):
                        result, commit = await self._decide(operation, arguments, unit, request, timer)
                else:
                    result, commit = await self._decide(operation, arguments, unit, request, timer)
                position = commit if isinstance(commit, int) else await self._durable(commit, unit)
            except _RunAgain:
                fresh = True
                continue
            except DocumentChanged:
                await self._inline.refresh()
                continue
            except NotInStep:
                if not await self._inline.refresh():
                    raise
                continue
            except (VersionConflict, SerializationConflict) as conflict:
                if not isinstance(conflict, _LocalConflict):
                    self._aggregates.forget(set(unit.tracked))
                    replay = None if request is None else await self._look_up_again(operation, request)
                    if replay is not None:
                        return replay
                existing = self._existing(unit, conflict) if collided else None
                if existing is not None:
                    return await self._refuse(AlreadyExists(id=existing), operation, request, unit, timer)
                collided, fresh = set(unit.tracked), False
                await asyncio.sleep(random.uniform(0, pause))
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                continue
            except KeyTaken:
                self._aggregates.forget(set(unit.tracked))
                if request is None:
                    raise
                return await self._answer_given(operation, request)
            except NotUnique as taken:
                return await self._refuse(ValueTaken(field=taken.column), operation, request, unit, timer)
            finally:
                unit.closed = True
            reach("call.committed")
            if isinstance(result, DomainError) and (timer is None or result.temporary):
                raise result
            return Answer(result, position, module=self._module)
        raise Unavailable("Others kept changing the same thing; try again.", maybe_executed=False)

    async def _refuse(
        self,
        refusal: DomainError,
        operation: Operation,
        request: StoredResult | None,
        unit: UnitOfWork,
        timer: str | None,
    ) -> Answer:
        """Raise a refusal that the commit has brought, as the answer to the key. If the key has one, return that."""
        if request is not None and _is_kept(refusal, unit.context):
            try:
                await self._committer.submit(self._refusal(_refused(refusal), request, timer))
            except KeyTaken:
                return await self._answer_given(operation, request)
        raise refusal

    @staticmethod
    def _refusal(refused: _Outcome, request: StoredResult, timer: str | None) -> Unit:
        return Unit(result=_stored(request, refused), timers_done=[timer] if timer else ())

    def _existing(self, unit: UnitOfWork, conflict: Exception) -> str | None:
        """The id of an aggregate that was added here and, the second time too, was there already."""
        tracked = unit.tracked.get(getattr(conflict, "stream", ""))
        if tracked is None or not tracked.added or self._aggregates.pending(tracked.aggregate.stream):
            return None
        return str(tracked.aggregate.id)

    async def _decide(
        self,
        operation: Operation,
        arguments: dict[str, Any],
        unit: UnitOfWork,
        request: StoredResult | None,
        timer: str | None,
    ) -> tuple[Any, PendingCommit | int]:
        """Run the use case and hand in what it has changed.

        Returns its result (or refusal), and the commit or, if there is none to wait for, the position.
        """
        token = enter_unit(unit)
        noted: list[Aggregate] = []
        noting = recording.set(noted)
        try:
            result = await self._result(operation, arguments)
            _require_added(unit, noted, operation)
            stale = hold_precondition(unit)
            if stale is not None:
                raise stale
            self._require_replayable(unit)
        except DomainError as problem:
            await _roll_back(unit, problem)
            refusal = hold_precondition(unit, problem) or problem
            self._believe(unit)
            refused = _refused(refusal)
            if request is None or not _is_kept(refusal, unit.context):
                raise refusal from None
            return refusal, self._committer.submit(self._refusal(refused, request, timer))
        except BaseException as problem:
            await _roll_back(unit, problem)
            raise
        finally:
            recording.reset(noting)
            leave_unit(token)
        unit.closed = True
        reach("call.decided")
        try:
            answer = _answer(operation, request, result, unit.context)
            if not unit.dirty and unit.transaction is None and timer is None:
                self._believe(unit)
                if request is None:
                    return result, 0
            tried_later = isinstance(result, DomainError) and result.temporary
            port_unit = self._collect(unit, answer, None if tried_later else timer)
        except BaseException as problem:
            await _roll_back(unit, problem)
            raise
        if unit.transaction is not None:
            await self._believe_or_roll_back(unit)
            return result, await self._commit_transaction(unit, port_unit)
        return result, self._hand_in(unit, port_unit)

    async def _result(self, operation: Operation, arguments: dict[str, Any]) -> Any:
        """What the use case returns, or the refusal that keeps what was changed before it."""
        try:
            # Each attempt gets arguments of its own: one before it may have changed what it was given.
            return await getattr(self._service, operation.name)(**operation.own(arguments))
        except DomainError as refusal:
            if not refusal.keeps_changes:
                raise
            return refusal

    def _require_replayable(self, unit: UnitOfWork) -> None:
        for tracked in unit.tracked.values():
            self._aggregates.require_replayable(tracked)

    @staticmethod
    def _believe(unit: UnitOfWork) -> None:
        """Nothing will check what this attempt has read, so it must have come from the store."""
        if any(tracked.from_memory for tracked in unit.tracked.values()):
            raise _RunAgain

    async def _believe_or_roll_back(self, unit: UnitOfWork) -> None:
        """A transaction is written by itself, not behind the commits that memory's states wait for."""
        try:
            self._believe(unit)
        except _RunAgain as again:
            await _roll_back(unit, again)
            raise

    def _hand_in(self, unit: UnitOfWork, port_unit: Unit) -> PendingCommit:
        bases: list[Any] = [tracked.base for tracked in unit.tracked.values() if tracked.base is not None]
        commit = self._committer.submit(port_unit, [base for base in bases if not base.done])
        for tracked, append in zip(unit.changed, port_unit.appends, strict=True):
            self._aggregates.handed_in(tracked.aggregate, commit, append.events[-1].time)
        return commit

    async def _durable(self, commit: PendingCommit, unit: UnitOfWork) -> int:
        """Wait for the commit. When it failed, what builds on it is not to be believed."""
        try:
            return await commit
        finally:
            if commit.failed:
                self._aggregates.forget(set(unit.tracked))

    async def _commit_transaction(self, unit: UnitOfWork, port_unit: Unit) -> int:
        assert unit.transaction is not None and unit.stack is not None  # noqa: S101
        streams = {tracked.aggregate.stream for tracked in unit.changed}
        try:
            async with unit.stack:
                if unit.doomed:
                    raise MisuseError(
                        "a transaction was left by an exception, and the use case went on: it rolled back"
                    )
                position = await unit.transaction.write(port_unit)
        finally:
            self._aggregates.forget(streams)
        self._committer.announce(position)
        return position

    def _collect(self, unit: UnitOfWork, result: StoredResult | None, timer: str | None) -> Unit:
        """Turn what the use case has done into a unit for the store."""
        context = unit.context
        given = Metadata(
            actor=context.actor,
            tenant=context.tenant,
            correlation=context.correlation or context.id,
            causation=context.id,
            key=context.key,
        )
        metadata = encode_to_keep(given, Metadata, "the metadata of the call").decode()
        recorded_at = _recorded_at(unit)
        appends: list[Append] = []
        guards: list[tuple[str, int]] = []
        snapshots: list[Snapshot] = []
        for stream, tracked in unit.tracked.items():
            aggregate, loaded = tracked.aggregate, tracked.loaded
            known = self._aggregates.current(stream)
            moved_on = known is not None and known != loaded and (aggregate._recorded or tracked.guarded)
            if moved_on or (tracked.base is not None and tracked.base.failed):
                raise _LocalConflict(stream)
            if aggregate._recorded:
                appends.append(
                    Append(
                        stream,
                        loaded,
                        [
                            NewEvent(
                                stream,
                                loaded + place,
                                uuid7(),
                                type(event).__name__,
                                event.schema_version,
                                EventTypes.encode(event),
                                metadata,
                                recorded_at,
                            )
                            for place, event in enumerate(aggregate._recorded, 1)
                        ],
                    )
                )
                every = aggregate.snapshot_every
                if aggregate.version // every > loaded // every:
                    snapshot = self._aggregates.snapshot(aggregate)
                    if snapshot is not None:
                        snapshots.append(snapshot)
            elif tracked.guarded:
                guards.append((stream, loaded))
        port_unit = Unit(
            appends=appends,
            guards=guards,
            snapshots=snapshots,
            result=result,
            timers=unit.timers,
            timers_done=[timer] if timer else (),
            statements=unit.statements,
        )
        self._inline.add(port_unit)
        return port_unit


def _within(seconds: float | None, work: Awaitable[Answer], *, executed: bool) -> Awaitable[Answer]:
    return work if seconds is None else in_time(seconds, work, executed=executed)


def require_usable_key(key: str) -> None:
    """Raise `UnusableKey` for what no store can keep."""
    if not 0 < len(key) <= LONGEST_KEY or not storable(key):
        raise UnusableKey()


def _recorded_at(unit: UnitOfWork) -> datetime:
    """The time of its events: never before that of the events they follow, though clocks may differ or be set back."""
    return max([unit.now(), *(tracked.time for tracked in unit.changed if tracked.time is not None)])


def _is_kept(refusal: DomainError, context: Context) -> bool:
    """Whether a refusal is the answer to its key for good: always when changes were committed with it."""
    return not refusal.temporary and (refusal.keeps_changes or context.keeps_refusals)


def _answer(operation: Operation, request: StoredResult | None, result: Any, context: Context) -> StoredResult | None:
    """What is stored under the key; None if there is none, or it may be asked again.

    Raises `NotStorable`, also without a key: whether an answer is one doesn't depend on how it was asked for.
    """
    if isinstance(result, DomainError):
        outcome = _refused(result)
        return _stored(request, outcome) if request is not None and _is_kept(result, context) else None
    wire = operation.encode_result(result)
    if request is None:
        return None
    return _stored(request, _Outcome(withheld=True) if operation.answers_secrets else _Outcome(msgspec.Raw(wire)))


def _refused(refusal: DomainError) -> _Outcome:
    """A refusal as it is kept. Raises `NotStorable`."""
    kind = refusal.details_type()
    encode_to_keep(refusal.details, kind, f"the refusal {type(refusal).__name__}")
    if holds_secrets(kind):
        return _Outcome(refusal=as_data(refusal, details=False), withheld=True)
    return _Outcome(refusal=as_data(refusal))


def _stored(request: StoredResult, outcome: _Outcome) -> StoredResult:
    return StoredResult(request.scope, request.key, request.fingerprint, encode_text(outcome))


async def _roll_back(unit: UnitOfWork, problem: BaseException) -> None:
    if unit.stack is not None:
        stack, unit.stack = unit.stack, None
        await stack.__aexit__(type(problem), problem, problem.__traceback__)


def _require_added(unit: UnitOfWork, noted: Sequence[Aggregate], operation: Operation) -> None:
    """Raise `MisuseError` for an aggregate that has recorded something and was given to no repository."""
    for aggregate in noted:
        tracked = unit.tracked.get(aggregate.stream)
        if tracked is None or tracked.aggregate is not aggregate:
            kind, fact = type(aggregate).__name__, type(aggregate.recorded[0]).__name__
            raise MisuseError(
                f"{operation}: a {kind} has recorded {fact}, which would be lost: it was given to no repository; "
                f"add it to one of {kind}s"
            )
