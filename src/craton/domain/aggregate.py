"""Aggregates: the boundaries inside which the rules always hold."""

import inspect
from typing import Any, ClassVar, Final, Self

from craton.domain.errors import AggregateNotFound
from craton.domain.event import Event
from craton.domain.id import Id

_RESERVED: Final = frozenset({"version", "stream", "stream_prefix", "snapshot_every", "not_found", "recorded"})


class Aggregate:
    """A consistency boundary. Its annotated fields are its state; recording events is the only way to change them.

    A subclass overrides `apply`, whose event parameter is annotated with the union of the aggregate's events, and
    writes methods that check the rules and call `record`. Field defaults are shared, so give only immutable ones.
    """

    stream_prefix: ClassVar[str]
    """First part of its streams' names: the class's name in lower case unless given."""
    snapshot_every: ClassVar[int] = 100
    """A snapshot is taken each time this many events were recorded; 1 stores the state with each commit."""

    not_found: ClassVar[type[AggregateNotFound]] = AggregateNotFound
    """What a repository raises for an id that nobody has."""

    id: Id
    stream: str
    """The name of its stream of events: `account-0195…`."""
    version: int
    """How many events this state stands on, the recorded and not yet committed ones included."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        taken = _RESERVED & inspect.get_annotations(cls).keys()
        if taken:
            raise TypeError(
                f"{cls.__name__}.{min(taken)} has a meaning of its own in every aggregate; use another name"
            )
        if "stream_prefix" not in cls.__dict__:
            cls.stream_prefix = cls.__name__.lower()
        if cls.snapshot_every < 1:
            raise TypeError(f"{cls.__name__}.snapshot_every must be 1 or more")

    def __init__(self, id: Any) -> None:
        self.id = id
        self.stream = f"{self.stream_prefix}-{id}"
        self.version = 0
        self._recorded: list[Event] = []

    @classmethod
    def begin(cls, id: Any, event: Event) -> Self:
        """Return a new aggregate whose first fact is `event`."""
        aggregate = cls(id)
        aggregate.record(event)
        return aggregate

    def record(self, event: Event) -> None:
        """Apply the event and keep it for the unit of work to append."""
        self.apply(event)
        self.version += 1
        self._recorded.append(event)

    def apply(self, event: Any) -> None:
        """Change the state as the event says. The only place where state changes; it checks and decides nothing."""
        raise TypeError(f"{type(self).__name__} must define apply")

    @property
    def recorded(self) -> tuple[Event, ...]:
        """The events recorded since the aggregate was loaded, in order."""
        return tuple(self._recorded)
