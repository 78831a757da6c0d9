"""The states of aggregates after each event, for projections that are given them.

A projection reads the log after the commits, so it doesn't need the newest state but the one at its own position.
States stay in memory while their streams are in use. A state that isn't in memory is made from the log: from a snapshot
that isn't newer, or from the beginning.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from craton.application.upcasting import EventTypes
from craton.domain.aggregate import AnyAggregate
from craton.ports import EventLog, StoredEvent, StoreUnavailable, StreamState
from craton.runtime.commands.state_type import state_type

MAX_STATES: Final = 20_000
MAX_LOADED_TOGETHER: Final = 256
HISTORY_PAGE: Final = 1_000


class PastStates:
    """The states of one kind of aggregate, each after the last event that was given."""

    def __init__(self, kind: type[AnyAggregate], log: EventLog, types: EventTypes) -> None:
        self._type = state_type(kind)
        self._log = log
        self._types = types
        self._states: OrderedDict[str, AnyAggregate] = OrderedDict()
        self._problems: dict[str, Exception] = {}
        """By stream, why its state can't be made for the events at hand."""

    def is_of(self, stream: str) -> bool:
        """Whether a stream is one of this kind of aggregate."""
        return stream.startswith(f"{self._type.kind.stream_prefix}-")

    async def prepare(self, events: Sequence[StoredEvent]) -> None:
        """Make the states before these events; each stream's events are in order."""
        self._problems.clear()
        first: dict[str, int] = {}
        for event in events:
            first.setdefault(event.stream, event.version)
        missing = {stream: version - 1 for stream, version in first.items() if self._version(stream) != version - 1}
        for stream in [stream for stream, version in missing.items() if version == 0]:
            del missing[stream]
            await self._make(stream, None, 0)
        wanted = list(missing)
        for start in range(0, len(wanted), MAX_LOADED_TOGETHER):
            await self._load({stream: missing[stream] for stream in wanted[start : start + MAX_LOADED_TOGETHER]})

    def after(self, event: StoredEvent) -> AnyAggregate:
        """Apply an event to the state before it, and return the state. Raises what `apply` raises."""
        if event.stream in self._problems:
            raise self._problems[event.stream]
        aggregate = self._states.pop(event.stream)  # removed, because it may be half changed if this fails
        self._type.apply(aggregate, event, self._types)
        self._states[event.stream] = aggregate
        return aggregate

    def forget(self) -> None:
        """Keep nothing, because the rows of what was given may not have been written."""
        self._states.clear()

    def trim(self) -> None:
        """Remove the states that haven't been used for the longest time."""
        while len(self._states) > MAX_STATES:
            self._states.popitem(last=False)

    async def _load(self, versions: dict[str, int]) -> None:
        loaded = await self._log.load([(stream, self._type.fingerprint) for stream in versions])
        for (stream, version), found in zip(versions.items(), loaded, strict=True):
            await self._make(stream, found, version)

    async def _make(self, stream: str, found: StreamState | None, version: int) -> None:
        """Make the state of a stream at a version, starting from what was read of its newest state if possible."""
        try:
            aggregate = self._start(stream, found, version)
            await self._replay(aggregate, version)
        except StoreUnavailable:
            raise
        except (
            Exception
        ) as problem:  # an error of a module's own code or of an unreadable event concerns only this stream
            self._states.pop(stream, None)
            self._problems[stream] = problem
        else:
            self._states[stream] = aggregate

    def _start(self, stream: str, found: StreamState | None, version: int) -> AnyAggregate:
        aggregate = self._type.new(stream.partition("-")[2])
        if found is None or (found.snapshot is not None and found.snapshot.version > version):
            return aggregate
        if found.snapshot is not None:
            aggregate = self._type.decode(found.snapshot, aggregate.id)
        for event in found.events:
            if event.version <= version:
                self._type.apply(aggregate, event, self._types)
        return aggregate

    async def _replay(self, aggregate: AnyAggregate, version: int) -> None:
        while aggregate.version < version:
            limit = min(HISTORY_PAGE, version - aggregate.version)
            for event in await self._log.read_stream(aggregate.stream, after=aggregate.version, limit=limit):
                self._type.apply(aggregate, event, self._types)

    def _version(self, stream: str) -> int | None:
        state = self._states.get(stream)
        return None if state is None else state.version
