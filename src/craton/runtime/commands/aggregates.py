"""Aggregates: loaded from the store, several in one query, and kept in memory as a hint.

Memory holds, for a stream, the state that was last *handed in*, though it may not be durable yet: the next command
starts from it, and both can go out in one batch. It is never a second truth:
- what a unit writes on top of it carries the expected version, and what it only read is guarded, so the store decides;
- a use case that ends without writing (a refusal, a no-op, a query) is only believed when it has read the store;
- when a unit fails, the streams it touched are forgotten, and the units that built on them fail by their versions.
"""

import asyncio
import copy
from collections import OrderedDict, defaultdict
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec
import structlog

from craton.application.codec import masked
from craton.application.context import context
from craton.application.errors import MisuseError
from craton.application.page import Page, Paging
from craton.application.repository import AuditEvent
from craton.application.unit_of_work import Tracked, UnitOfWork
from craton.application.upcasting import EventTypes
from craton.domain.aggregate import AnyAggregate
from craton.ports import EventLog, Snapshot, StoredEvent, StreamState
from craton.runtime.commands.state_type import require_storable_state, say_the_same, state_type
from craton.runtime.committer import PendingCommit

A = TypeVar("A", bound=AnyAggregate)

MAX_AGGREGATES_IN_MEMORY: Final = 20_000
MAX_STREAMS_PER_LOAD: Final = 256
HISTORY_PAGE: Final = 1_000
ALWAYS_CHECKED_CHANGES: Final = 100

log = structlog.get_logger("craton.aggregates")


class _Checks:
    """Chooses which changes of one kind are checked against their events: the first hundred, then one of a hundred."""

    __slots__ = ("_carried_out", "_check_all", "to_leave_out")

    def __init__(self, check_all: bool) -> None:
        self._check_all = check_all
        self._carried_out = 0
        self.to_leave_out = 0
        """The number of changes that aren't checked before the next check."""

    def carried_out(self) -> None:
        self._carried_out += 1
        if self._carried_out >= ALWAYS_CHECKED_CHANGES and not self._check_all:
            self.to_leave_out = ALWAYS_CHECKED_CHANGES - 1


class _Memory:
    """The newest known state of a stream, and the commit that makes it durable."""

    __slots__ = ("aggregate", "tail", "time")

    def __init__(self, aggregate: AnyAggregate, tail: PendingCommit | None, time: datetime | None) -> None:
        self.aggregate = aggregate
        self.tail = tail
        self.time = time

    @property
    def pending(self) -> bool:
        return self.tail is not None and not self.tail.done


class Aggregates:
    """The aggregates of one module. With `check_all`, every change is checked against its events, not only some."""

    def __init__(self, log: EventLog, events: EventTypes, *, check_all: bool) -> None:
        self._log = log
        self._events = events
        self._memory: OrderedDict[str, _Memory] = OrderedDict()
        self._checks: defaultdict[type[AnyAggregate], _Checks] = defaultdict(lambda: _Checks(check_all))
        self._waiting: dict[tuple[str, str], asyncio.Future[StreamState]] = {}

    async def load(self, unit: UnitOfWork, kind: type[A], id: Any) -> Tracked | None:
        stream = f"{kind.stream_prefix}-{id}"
        known = self._known(stream)
        if known is not None and not unit.fresh and unit.transaction is None:
            self._memory.move_to_end(stream)
            origin = known.aggregate
            return Tracked(
                state_type(kind).copy(origin),
                origin.version,
                from_memory=True,
                base=known.tail,
                origin=origin,
                time=known.time,
            )
        if known is not None and known.tail is not None and not unit.read_only and unit.transaction is None:
            await known.tail.ended()
        aggregate, time = await self._load_newest(kind, id)
        if aggregate is None:
            return None
        loaded = None if unit.read_only else self._remember_loaded(aggregate, time)
        return Tracked(aggregate, aggregate.version, origin=loaded or self._copy_to_check(aggregate), time=time)

    async def load_past(self, kind: type[A], id: Any, at: datetime | None, version: int | None) -> A | None:
        """Replay the stream from its beginning up to a time or a version; None if it didn't exist then."""
        aggregate = kind(id)
        while True:
            events = await self._log.read_stream(aggregate.stream, after=aggregate.version, limit=HISTORY_PAGE)
            for event in events:
                if (at is not None and event.time > at) or aggregate.version == version:
                    break
                state_type(kind).apply(aggregate, event, self._events)
            else:
                if len(events) == HISTORY_PAGE:
                    continue
            break
        reached = aggregate.version > 0 and (version is None or aggregate.version == version)
        return aggregate if reached else None

    async def audit(self, stream: str, paging: Paging) -> Page[AuditEvent]:
        newest = await self._log.read_stream(stream, limit=1, descending=True)
        total = newest[0].version if newest else 0
        before = total + 1 - paging.offset
        events = (
            await self._log.read_stream(stream, after=before, limit=paging.page_size, descending=True)
            if before > 1
            else []
        )
        return Page.of([self._audited(event) for event in events], total, paging)

    def require_replayable(self, tracked: Tracked) -> None:
        """Refuse a state that its events don't produce, or that no snapshot could hold: it couldn't be loaded again.

        Only some changes are checked, because a check applies the events once more; tests check all of them. Raises
        `MisuseError` or `NotStorable`.
        """
        aggregate, origin = tracked.aggregate, tracked.origin
        if tracked.loaded and origin is None:
            return
        checks = self._checks[type(aggregate)]
        if checks.to_leave_out:
            checks.to_leave_out -= 1
            return
        checks.carried_out()
        kind = state_type(type(aggregate))
        replayed = kind.kind(aggregate.id) if origin is None else kind.copy(origin)
        for event in aggregate.recorded:
            replayed.apply(copy.deepcopy(event))
            replayed.version += 1
        unequal = kind.differences(aggregate, replayed)
        changed = next((name for name in unequal if not say_the_same(name, aggregate, replayed)), None)
        if changed is not None:
            raise MisuseError(
                f"{kind.kind.__name__}.{changed} was changed outside of apply, so that no event says it and the change "
                f"would be lost; record an event, and make the change where apply is given it"
            )
        if aggregate._recorded and (origin is None or kind.is_storable(origin)):
            require_storable_state(kind, aggregate, unequal)

    def pending(self, stream: str) -> bool:
        """Whether memory holds a state that isn't durable yet."""
        known = self._known(stream)
        return known is not None and known.pending

    def current(self, stream: str) -> int | None:
        """The version of a stream that memory holds; None if it doesn't hold the stream."""
        known = self._known(stream)
        return None if known is None else known.aggregate.version

    def _known(self, stream: str) -> _Memory | None:
        """The state of a stream that memory holds; if its commit has failed, it is forgotten first."""
        known = self._memory.get(stream)
        if known is not None and known.tail is not None and known.tail.failed:
            del self._memory[stream]
            return None
        return known

    def handed_in(self, aggregate: AnyAggregate, tail: PendingCommit, time: datetime) -> None:
        """Let the next command start from this state, which becomes durable with `tail` or is forgotten."""
        aggregate._recorded = []
        self._memory[aggregate.stream] = _Memory(aggregate, tail, time)
        self._memory.move_to_end(aggregate.stream)
        while len(self._memory) > MAX_AGGREGATES_IN_MEMORY:
            self._memory.popitem(last=False)

    def forget(self, streams: set[str]) -> None:
        for stream in streams:
            self._memory.pop(stream, None)

    def snapshot(self, aggregate: AnyAggregate) -> Snapshot | None:
        """The snapshot of an aggregate; None if it can't be stored, in which case its events still hold the state."""
        kind = state_type(type(aggregate))
        try:
            return Snapshot(aggregate.stream, aggregate.version, kind.fingerprint, kind.encode(aggregate))
        except Exception as problem:
            log.warning("a snapshot was not written, because it can't be stored", reason=str(problem))
            return None

    async def _load_newest(self, kind: type[A], id: Any) -> tuple[A | None, datetime | None]:
        """The newest state of an aggregate, and the time of its newest event."""
        state = await self._fetch(f"{kind.stream_prefix}-{id}", state_type(kind).fingerprint)
        if state.snapshot is None and not state.events:
            return None, None
        try:
            aggregate: Any = state_type(kind).decode(state.snapshot, id) if state.snapshot else kind(id)
        except Exception as problem:
            log.warning(
                "a snapshot was ignored, because it can't be decoded", stream=kind(id).stream, reason=repr(problem)
            )
            return await self.load_past(kind, id, None, None), state.time
        for event in state.events:
            state_type(kind).apply(aggregate, event, self._events)
        return aggregate, state.time

    def _remember_loaded(self, aggregate: AnyAggregate, time: datetime | None) -> AnyAggregate | None:
        """Keep a copy of a state that was read, and return the copy; None if memory holds a newer state."""
        known = self._memory.get(aggregate.stream)
        if known is not None and (known.pending or known.aggregate.version > aggregate.version):
            return None
        kept = state_type(type(aggregate)).copy(aggregate)
        self._memory[aggregate.stream] = _Memory(kept, None, time)
        return kept

    def _copy_to_check(self, aggregate: AnyAggregate) -> AnyAggregate | None:
        """A copy that the state is compared with later, if it is to be checked and memory doesn't hold one."""
        checks = self._checks[type(aggregate)]
        if checks.to_leave_out:
            checks.to_leave_out -= 1
            return None
        return state_type(type(aggregate)).copy(aggregate)

    async def _fetch(self, stream: str, fingerprint: str) -> StreamState:
        """Read a stream. Requests from the same turn of the event loop share one query."""
        future = self._waiting.get((stream, fingerprint))
        if future is None:
            loop = asyncio.get_running_loop()
            if not self._waiting:
                loop.call_soon(lambda: loop.create_task(self._fetch_waiting()))
            future = self._waiting[stream, fingerprint] = loop.create_future()
        return await asyncio.shield(future)

    async def _fetch_waiting(self) -> None:
        waiting, self._waiting = self._waiting, {}
        wanted = list(waiting)
        for start in range(0, len(wanted), MAX_STREAMS_PER_LOAD):
            some = wanted[start : start + MAX_STREAMS_PER_LOAD]
            try:
                states = await self._log.load(some)
            except Exception as problem:
                for name in some:
                    waiting[name].set_exception(problem)
                    waiting[name].exception()
            else:
                for name, state in zip(some, states, strict=True):
                    waiting[name].set_result(state)

    def _audited(self, stored: StoredEvent) -> AuditEvent:
        known = stored.type not in self._events.retired  # of a retired event nobody knows which fields are secret
        data = masked(self._events.data(stored)) if known else {}
        metadata, caller = self._events.metadata(stored), context().caller
        if caller is not None and caller.id != metadata.actor:
            metadata = msgspec.structs.replace(
                metadata, key=None
            )  # the key would let a reader ask for another caller's answer
        return AuditEvent(
            type=stored.type,
            data=data,
            version=stored.version,
            position=stored.position,
            id=stored.id,
            time=stored.time,
            metadata=metadata,
        )
