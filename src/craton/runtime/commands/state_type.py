"""How the state of an aggregate is encoded, decoded, copied and compared: by its annotated fields."""

import copy
from datetime import datetime
from typing import Any, Final

import msgspec

from craton.application.codec import decoder, encode, encode_to_keep, masked, shape
from craton.application.errors import NotStorable
from craton.application.upcasting import EventTypes, UndecodableEvent
from craton.domain.aggregate import AnyAggregate, applied_events, id_type_of, state_of
from craton.domain.immutability import is_immutable
from craton.ports import Snapshot, StoredEvent

_UNSET: Final = object()


class StateType:
    """How the state of one kind of aggregate is encoded, decoded and copied: by its annotated fields."""

    def __init__(self, kind: type[AnyAggregate]) -> None:
        self.kind = kind
        self.events = frozenset(applied_events(kind) or ())
        hints = state_of(kind)
        self.fields = tuple(hints)
        self._id_type = id_type_of(kind)
        struct = msgspec.defstruct(
            f"{kind.__name__}State",
            [(name, hint | msgspec.UnsetType, msgspec.UNSET) for name, hint in hints.items()]
            + [("began_at", datetime | None, None)],
        )
        self._struct: Any = struct
        self._decode = decoder(struct).decode
        self.fingerprint = shape(struct)
        self._mutable = tuple(name for name, hint in hints.items() if not is_immutable(hint))

    def new(self, id: str) -> AnyAggregate:
        """A new aggregate without events, by its id as text. Raises `ValueError` if the text isn't an id."""
        return self.kind(id if self._id_type is None else self._id_type(id))

    def apply(self, aggregate: AnyAggregate, event: StoredEvent, types: EventTypes) -> None:
        """Apply a stored event, the next one of its stream. An event whose name is retired changes nothing.

        Raises `UndecodableEvent`.
        """
        if event.type not in types.retired:
            fact = types.data(event)
            if type(fact) not in self.events:
                raise UndecodableEvent(event, f"{self.kind.__name__} doesn't apply {type(fact).__name__}")
            aggregate.apply(fact)
        aggregate.version = event.version
        if event.version == 1:
            aggregate.began_at = event.time

    def encode(self, aggregate: AnyAggregate) -> str:
        """The state in its stored form. Raises `NotStorable`."""
        state = vars(aggregate)
        fields = {name: state[name] for name in self.fields if name in state}
        given = self._struct(**fields, began_at=state.get("began_at"))
        return encode_to_keep(given, self._struct, f"the state of {aggregate.stream}").decode()

    def shown(self, aggregate: AnyAggregate) -> dict[str, Any]:
        """The state as people see it: in JSON's own types, with secrets masked."""
        return {name: masked(getattr(aggregate, name)) for name in self.fields if hasattr(aggregate, name)}

    def decode(self, snapshot: Snapshot, id: Any) -> AnyAggregate:
        aggregate = self.kind(id)
        state = self._decode(snapshot.state)
        for name in self.fields:
            value = getattr(state, name)
            if value is not msgspec.UNSET:
                setattr(aggregate, name, value)
        aggregate.version = snapshot.version
        if state.began_at is not None:
            aggregate.began_at = state.began_at
        return aggregate

    def is_storable(self, aggregate: AnyAggregate) -> bool:
        try:
            self.encode(aggregate)
        except Exception:
            return False
        return True

    def differences(self, aggregate: AnyAggregate, other: AnyAggregate) -> list[str]:
        """The names of the fields in which two states differ."""
        one, two = vars(aggregate), vars(other)
        return [name for name in self.fields if one.get(name, _UNSET) != two.get(name, _UNSET)]

    def changed(self, before: AnyAggregate, after: AnyAggregate) -> list[str]:
        """The names of the fields whose values, or defaults, aren't equal, as secrets may be that are shown alike."""
        return [name for name in self.fields if getattr(before, name, None) != getattr(after, name, None)]

    def copy(self, aggregate: AnyAggregate) -> AnyAggregate:
        twin = object.__new__(self.kind)
        state = vars(twin)
        state.update(vars(aggregate))
        state["_recorded"] = []
        for name in self._mutable:
            if name in state:
                state[name] = copy.deepcopy(state[name])
        return twin


_state_types: Final[dict[type[AnyAggregate], StateType]] = {}


def state_type(kind: type[AnyAggregate]) -> StateType:
    """The state type of a kind of aggregate; it is made once."""
    known = _state_types.get(kind)
    if known is None:
        known = _state_types[kind] = StateType(kind)
    return known


def say_the_same(field: str, aggregate: AnyAggregate, other: AnyAggregate) -> bool:
    """Whether a field has the same stored form although it isn't equal, such as NaN."""
    one, two = vars(aggregate).get(field, _UNSET), vars(other).get(field, _UNSET)
    if type(one) is not type(two):
        return False
    try:
        return encode(one) == encode(two)
    except Exception:
        return True


def require_storable_state(kind: StateType, aggregate: AnyAggregate, unequal: list[str]) -> None:
    if unequal:
        name = unequal[0]
        raise NotStorable(
            f"{kind.kind.__name__}.{name} is {vars(aggregate)[name]!r}, which isn't equal to itself when apply makes "
            f"it once more, so that it couldn't be compared with what is read back; give its type an __eq__, or keep "
            f"None instead of NaN"
        )
    kind.encode(aggregate)
