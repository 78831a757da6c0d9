"""Aggregates: loaded from the store, several in one query, and kept in memory as a hint.

Memory holds, for a stream, the state that was last *handed in*, though it may not be durable yet: the next command
starts from it, and both can go out in one batch. It is never a second truth:
- what a unit writes on top of it carries the expected version, and what it only read is guarded, so the store decides;
- a use case that ends without writing (a refusal, a no-op, a query) is only believed when it has read the store;
- when a unit fails, the streams it touched are forgotten, and the units that built on them fail by their versions.
"""

import asyncio
import copy
from collections import OrderedDict
from datetime import datetime
from typing import Any, ClassVar, Final, TypeVar, get_origin, get_type_hints

import msgspec
import structlog

from craton.application.codec import decoder, encode_text, encode_to_keep, shape
from craton.application.context import context
from craton.application.errors import MisuseError
from craton.application.page import Page, Paging
from craton.application.repository import AuditEvent
from craton.application.unit_of_work import Tracked, UnitOfWork
from craton.application.upcasting import EventTypes
from craton.domain import Aggregate
from craton.domain.immutability import is_immutable
from craton.ports import EventLog, Snapshot, StoredEvent, StreamState
from craton.runtime.committer import PendingCommit

A = TypeVar("A", bound=Aggregate)

MEMORY_LIMIT: Final = 20_000
MAX_LOADS_TOGETHER: Final = 256
HISTORY_PAGE: Final = 1_000
CHECKED_CHANGES: Final = 100
_UNSET: Final = object()


class StateType:
    """How the state of one kind of aggregate is encoded, decoded and copied: by its annotated fields."""

    def __init__(self, kind: type[Aggregate]) -> None:
        self.kind = kind
        hints = {
            name: hint
            for name, hint in get_type_hints(kind, include_extras=True).items()
            if get_origin(hint) is not ClassVar and name not in ("id", "stream", "version")
        }
        self.fields = tuple(hints)
        struct = msgspec.defstruct(
            f"{kind.__name__}State",
            [(name, hint | msgspec.UnsetType, msgspec.UNSET) for name, hint in hints.items()],
        )
        self._struct: Any = struct
        self._decode = decoder(struct).decode
        self.fingerprint = shape(struct)
        self._changes = 0
        self._mutable = tuple(name for name, hint in hints.items() if not is_immutable(hint))

    def encode(self, aggregate: Aggregate) -> str:
        """The state as it is stored. Raises `NotStorable`."""
        state = vars(aggregate)
        given = self._struct(**{name: state[name] for name in self.fields if name in state})
        return encode_to_keep(given, self._struct, f"the state of {aggregate.stream}").decode()

    def decode(self, snapshot: Snapshot, id: Any) -> Aggregate:
        aggregate = self.kind(id)
        state = self._decode(snapshot.state)
        for name in self.fields:
            value = getattr(state, name)
            if value is not msgspec.UNSET:
                setattr(aggregate, name, value)
        aggregate.version = snapshot.version
        return aggregate

    def wants_check(self) -> bool:
        """Whether this change is to be checked: the first ones all are, then one of a hundred."""
        self._changes += 1
        return self._changes <= CHECKED_CHANGES or self._changes % CHECKED_CHANGES == 0

    def difference(self, aggregate: Aggregate, other: Aggregate) -> str | None:
        """The name of a field in which two states differ, or None."""
        one, two = vars(aggregate), vars(other)
        return next((name for name in self.fields if one.get(name, _UNSET) != two.get(name, _UNSET)), None)

    def copy(self, aggregate: Aggregate) -> Aggregate:
        twin = object.__new__(self.kind)
        state = vars(twin)
        state.update(vars(aggregate))
        state["_recorded"] = []
        for name in self._mutable:
            if name in state:
                state[name] = copy.deepcopy(state[name])
        return twin


log = structlog.get_logger("craton.aggregates")

_state_types: Final[dict[type[Aggregate], StateType]] = {}


def state_type(kind: type[Aggregate]) -> StateType:
    """The state type of a kind of aggregate, made once."""
    known = _state_types.get(kind)
    if known is None:
        known = _state_types[kind] = StateType(kind)
    return known


class _Memory:
    """The newest known state of a stream, and the commit it waits for."""

    __slots__ = ("aggregate", "tail")

    def __init__(self, aggregate: Aggregate, tail: PendingCommit | None) -> None:
        self.aggregate = aggregate
        self.tail = tail

    @property
    def pending(self) -> bool:
        return self.tail is not None and not self.tail.done


class Aggregates:
    """The aggregates of one module."""

    def __init__(self, log: EventLog, events: EventTypes) -> None:
        self._log = log
        self._events = events
        self._memory: OrderedDict[str, _Memory] = OrderedDict()
        self._waiting: dict[tuple[str, str], asyncio.Future[StreamState]] = {}

    async def load(self, unit: UnitOfWork, kind: type[A], id: Any) -> Tracked | None:
        stream = f"{kind.stream_prefix}-{id}"
        known = self._known(stream)
        if known is not None and not unit.fresh and unit.transaction is None:
            self._memory.move_to_end(stream)
            return Tracked(
                state_type(kind).copy(known.aggregate), known.aggregate.version, from_memory=True, base=known.tail
            )
        if known is not None and known.tail is not None and not unit.read_only and unit.transaction is None:
            await known.tail.ended()
        aggregate = await self._load_newest(kind, id)
        if aggregate is None:
            return None
        if not unit.read_only:
            self._remember_loaded(aggregate)
        return Tracked(aggregate, aggregate.version)

    async def load_past(self, kind: type[A], id: Any, at: datetime | None, version: int | None) -> A | None:
        """Replay the stream from its beginning up to a time or a version; None when it wasn't there then."""
        aggregate = kind(id)
        while True:
            events = await self._log.read_stream(aggregate.stream, after=aggregate.version, limit=HISTORY_PAGE)
            for event in events:
                if (at is not None and event.time > at) or aggregate.version == version:
                    break
                self._apply(aggregate, event)
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
        """Refuse a state that its events don't make: whoever loads the aggregate next would not see it.

        Checked now and then only, because it applies the events once more; a test always finds it. Raises
        `MisuseError`.
        """
        aggregate = tracked.aggregate
        kind = state_type(type(aggregate))
        known = self._memory.get(aggregate.stream)
        if not kind.wants_check() or (tracked.loaded and (known is None or known.aggregate.version != tracked.loaded)):
            return
        replayed = kind.copy(known.aggregate) if known is not None and tracked.loaded else kind.kind(aggregate.id)
        for event in aggregate.recorded:
            replayed.apply(copy.deepcopy(event))
        name = kind.difference(aggregate, replayed)
        if name is not None:
            raise MisuseError(
                f"{kind.kind.__name__}.{name} was changed outside of apply, so that no event says it and the change "
                f"would be lost; record an event, and make the change where apply is given it"
            )

    def pending(self, stream: str) -> bool:
        """Whether memory knows a state that isn't durable yet."""
        known = self._known(stream)
        return known is not None and known.pending

    def current(self, stream: str) -> int | None:
        """The version that memory knows of a stream, None if it knows nothing."""
        known = self._known(stream)
        return None if known is None else known.aggregate.version

    def _known(self, stream: str) -> _Memory | None:
        """What memory knows of a stream; a state whose commit has failed is forgotten."""
        known = self._memory.get(stream)
        if known is not None and known.tail is not None and known.tail.failed:
            del self._memory[stream]
            return None
        return known

    def handed_in(self, aggregate: Aggregate, tail: PendingCommit) -> None:
        """The next command may start from this state; it becomes durable with `tail`, or is forgotten."""
        aggregate._recorded = []
        self._memory[aggregate.stream] = _Memory(aggregate, tail)
        self._memory.move_to_end(aggregate.stream)
        while len(self._memory) > MEMORY_LIMIT:
            self._memory.popitem(last=False)

    def forget(self, streams: set[str]) -> None:
        for stream in streams:
            self._memory.pop(stream, None)

    def state(self, aggregate: Aggregate) -> Snapshot:
        """The aggregate's state, to be stored. Raises `NotStorable`."""
        kind = state_type(type(aggregate))
        return Snapshot(aggregate.stream, aggregate.version, kind.fingerprint, kind.encode(aggregate))

    async def _load_newest(self, kind: type[A], id: Any) -> A | None:
        state = await self._fetch(f"{kind.stream_prefix}-{id}", state_type(kind).fingerprint)
        if state.snapshot is None and not state.events:
            return None
        try:
            aggregate: Any = state_type(kind).decode(state.snapshot, id) if state.snapshot else kind(id)
        except Exception as problem:
            log.warning(
                "a snapshot is ignored, because it can't be decoded", stream=kind(id).stream, reason=repr(problem)
            )
            return await self.load_past(kind, id, None, None)
        for event in state.events:
            self._apply(aggregate, event)
        return aggregate  # type: ignore[no-any-return]

    def _apply(self, aggregate: Aggregate, event: StoredEvent) -> None:
        if event.type not in self._events.retired:
            aggregate.apply(self._events.data(event))
        aggregate.version = event.version

    def _remember_loaded(self, aggregate: Aggregate) -> None:
        known = self._memory.get(aggregate.stream)
        if known is None or (not known.pending and known.aggregate.version <= aggregate.version):
            self._memory[aggregate.stream] = _Memory(state_type(type(aggregate)).copy(aggregate), None)

    async def _fetch(self, stream: str, fingerprint: str) -> StreamState:
        """Read a stream; what is asked for in the same turn of the event loop is read in one query."""
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
        for start in range(0, len(wanted), MAX_LOADS_TOGETHER):
            some = wanted[start : start + MAX_LOADS_TOGETHER]
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
        retired = stored.type in self._events.retired
        data = stored.data if retired else encode_text(self._events.data(stored))
        metadata, caller = self._events.metadata(stored), context().caller
        if caller is not None and caller.id != metadata.actor:
            metadata = msgspec.structs.replace(metadata, key=None)  # with it one could ask for another's answer
        return AuditEvent(
            type=stored.type,
            data=msgspec.json.decode(data),
            version=stored.version,
            position=stored.position,
            id=stored.id,
            time=stored.time,
            metadata=metadata,
        )
