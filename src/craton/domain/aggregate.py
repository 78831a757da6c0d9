"""Aggregates: the boundaries inside which the rules always hold."""

import copy
import inspect
from contextvars import ContextVar
from datetime import datetime
from types import UnionType
from typing import Any, ClassVar, Final, Generic, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from craton.domain.errors import AggregateNotFound
from craton.domain.event import Event
from craton.domain.immutability import is_immutable

IdT = TypeVar("IdT", bound=str)

_IDENTITY: Final = frozenset({"id", "stream", "version", "began_at"})
_RESERVED: Final = _IDENTITY | {"stream_prefix", "snapshot_every", "not_found", "recorded"}


class Aggregate(Generic[IdT]):
    """A consistency boundary. Its annotated fields are its state; recording events is the only way to change them.

    `class Account(Aggregate[AccountId])` names the type of its id. A subclass overrides `apply`, whose event parameter
    is annotated with the union of the aggregate's events, and writes methods that check the rules and call `record`.
    All state is in annotated fields, because snapshots keep only those; their defaults are shared, so they must be
    immutable.
    """

    stream_prefix: ClassVar[str]
    """The first part of its streams' names, an identifier: the class's name in lower case unless given."""
    snapshot_every: ClassVar[int] = 100
    """A snapshot is taken each time this number of events was recorded; 1 stores the state with each commit."""

    not_found: ClassVar[type[AggregateNotFound]] = AggregateNotFound
    """The refusal that a repository raises when there is no aggregate with an id."""

    id: IdT
    stream: str
    """The name of its stream of events: `account-0195…`."""
    version: int
    """The number of events that made this state, including recorded events that aren't committed yet."""
    began_at: datetime
    """When its first event was recorded. A new aggregate gets this time at its commit."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        _require_state_that_is_kept(cls)
        if "stream_prefix" not in cls.__dict__:
            cls.stream_prefix = cls.__name__.lower()
        if not cls.stream_prefix.isidentifier():
            raise TypeError(
                f"{cls.__name__}.stream_prefix = {cls.stream_prefix!r} isn't an identifier: a stream is called "
                f"prefix-id, so that the prefix can't hold a hyphen; use letters, digits and _"
            )
        if cls.snapshot_every < 1:
            raise TypeError(f"{cls.__name__}.snapshot_every must be 1 or more")
        if inspect.isfunction(cls.apply) and list(inspect.signature(cls.apply).parameters)[1:2] != ["event"]:
            raise TypeError(
                f"the parameter of {cls.__name__}.apply must be called event: its annotation says which events the "
                f"aggregate has"
            )

    def __init__(self, id: Any) -> None:
        self.id = id
        self.stream = f"{self.stream_prefix}-{id}"
        self.version = 0
        self._recorded: list[Event] = []

    @classmethod
    def begin(cls, id: IdT, event: Event) -> Self:
        """Return a new aggregate whose first event is `event`."""
        aggregate = cls(id)
        aggregate.record(event)
        return aggregate

    def record(self, event: Event) -> None:
        """Apply the event and keep it for the unit of work to append.

        Raises `TypeError` for an event that isn't in the annotation of `apply`, and when `apply` sets something that
        isn't a field.
        """
        kind = _kinds.get(type(self)) or _kind_of(type(self))
        if kind.events is not None and type(event) not in kind.events:
            raise TypeError(
                f"{type(self).__name__} can't record {type(event).__name__}: the event parameter of its apply must be "
                f"annotated with it, or it couldn't be read back"
            )
        given = kept = event
        if type(event) not in kind.shared:
            given, kept = copy.deepcopy(event), copy.deepcopy(event)
        self.apply(given)
        if not kind.attributes.issuperset(vars(self)):
            name = min(vars(self).keys() - kind.attributes)
            raise TypeError(
                f"{type(self).__name__}.{name} isn't a field, so that a snapshot would lose it; "
                f"annotate it in the class, as in {name}: {type(getattr(self, name)).__name__}"
            )
        self.version += 1
        noted = recording.get()
        if noted is not None and not self._recorded:
            noted.append(self)
        self._recorded.append(kept)

    def apply(self, event: Any) -> None:
        """Change the state as the event says. The only place where state changes; it checks and decides nothing."""
        raise TypeError(f"{type(self).__name__} must define apply")

    @property
    def recorded(self) -> tuple[Event, ...]:
        """The events recorded since the aggregate was loaded, in order."""
        return tuple(self._recorded)


AnyAggregate = Aggregate[Any]

recording: Final[ContextVar[list[AnyAggregate] | None]] = ContextVar("craton_recording", default=None)
"""Collects the aggregates that record something, so that a unit of work finds those that no repository was given."""


class _Kind:
    """A class of aggregates, read: its events, which of them never change, and the names of its attributes."""

    def __init__(self, kind: type[AnyAggregate]) -> None:
        events = applied_events(kind)
        self.events = None if events is None else frozenset(events)
        self.shared = frozenset(event for event in events or () if is_immutable(event))
        self.attributes = {*_IDENTITY, "_recorded", *state_of(kind)}


_kinds: Final[dict[type[AnyAggregate], _Kind]] = {}


def _kind_of(kind: type[AnyAggregate]) -> _Kind:
    known = _kinds[kind] = _Kind(kind)
    return known


def id_type_of(kind: type[AnyAggregate]) -> Any:
    """The type of an aggregate's ids, as in `Aggregate[AccountId]`; None if its class doesn't name it."""
    for part in kind.__mro__:
        for base in vars(part).get("__orig_bases__", ()):
            if get_origin(base) is Aggregate and not isinstance(get_args(base)[0], TypeVar):
                return get_args(base)[0]
    return None


def state_of(kind: type[AnyAggregate]) -> dict[str, Any]:
    """The fields that make up an aggregate's state, with their annotations."""
    hints = get_type_hints(kind, include_extras=True)
    return {name: hint for name, hint in hints.items() if name not in _IDENTITY and not _is_class_var(hint)}


def applied_events(kind: type[AnyAggregate]) -> tuple[Any, ...] | None:
    """The kinds of events that an aggregate applies, by the annotation of `apply`'s event parameter.

    None when the parameter isn't annotated, or its annotation allows anything: no module accepts such an aggregate.
    """
    hint = get_type_hints(kind.apply).get("event", Any)
    if hint is Any:
        return None
    hint = getattr(hint, "__value__", hint)
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _require_state_that_is_kept(kind: type[AnyAggregate]) -> None:
    """Raise `TypeError` for state that a snapshot would lose or that aggregates would share; mixins are checked too."""
    parts = [part for part in reversed(kind.__mro__) if part not in Aggregate.__mro__]
    annotations = {name: hint for part in parts for name, hint in inspect.get_annotations(part).items()}
    if "id" in annotations:
        raise TypeError(
            f"{kind.__name__}.id is annotated in the class; say class {kind.__name__}(Aggregate[…]) instead, with the "
            f"type of its id"
        )
    taken = _RESERVED & annotations.keys()
    if taken:
        raise TypeError(f"{kind.__name__}.{min(taken)} has a meaning of its own in every aggregate; use another name")
    if any(vars(part).get("__slots__") for part in parts):
        raise TypeError(
            f"{kind.__name__} has __slots__, whose members no snapshot would hold; leave __slots__ out, and annotate "
            f"the fields"
        )
    values = {name: value for part in parts for name, value in vars(part).items()}
    for name, value in values.items():
        if _can_be_changed(name, value) and not _is_class_var(annotations.get(name)):
            raise TypeError(
                f"{kind.__name__}.{name} has a default that can be changed, and all aggregates would share it; set it "
                f"in apply, or give an immutable default such as () or None; annotate a constant with ClassVar"
            )


def _is_class_var(hint: Any) -> bool:
    if isinstance(hint, str):
        return hint.partition("[")[0].rpartition(".")[2] == "ClassVar"
    return hint is ClassVar or get_origin(hint) is ClassVar


def _can_be_changed(name: str, value: Any) -> bool:
    """Whether a class's attribute is a value, not a method or the like, that its aggregates could change in place."""
    is_descriptor = hasattr(value, "__get__") or hasattr(value, "__set_name__")
    if name.startswith("__") or callable(value) or is_descriptor:
        return False
    kind: Any = type(value)
    is_known_by_identity = kind.__hash__ is object.__hash__ and hasattr(value, "__dict__")
    return is_known_by_identity or not _is_hashable(value)


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
