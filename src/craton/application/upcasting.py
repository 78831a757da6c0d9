"""Events by name, and how old shapes of them become new ones."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from craton.application.codec import convert, decoder, encode_text
from craton.application.errors import WiringError
from craton.domain import Event, Metadata, Recorded
from craton.ports import StoredEvent

Data = dict[str, Any]


class Upcaster(msgspec.Struct, frozen=True):
    """Turns the plain data of `event` at schema version `version` into that of `version + 1`."""

    event: str
    version: int
    upcast: Callable[[Data], Data]


def stored_names(kinds: Iterable[type[Event]]) -> frozenset[str]:
    """Return the names under which events of some kinds are stored: those of today and those of before."""
    return frozenset(name for kind in kinds for name in _names_of(kind))


def _names_of(kind: type[Event]) -> tuple[str, ...]:
    return kind.__name__, *vars(kind).get("aliases", ())  # not those of a base: that is another kind


class EventTypes:
    """The kinds of events a module knows, by every name under which they are stored, and the names it has `retired`.

    Raises `WiringError` for a name used twice or a gap among upcasters.
    """

    def __init__(
        self, kinds: Iterable[type[Event]], upcasters: Iterable[Upcaster] = (), retired: Iterable[str] = ()
    ) -> None:
        self._kinds: dict[str, type[Event]] = {}
        for kind in kinds:
            for name in _names_of(kind):
                if self._kinds.setdefault(name, kind) is not kind:
                    raise WiringError(f"two kinds of events are called {name}")
        self.retired = frozenset(retired) - self._kinds.keys()
        """Events of these names are passed over."""
        self._upcasters: dict[tuple[type[Event], int], Callable[[Data], Data]] = {}
        for upcaster in upcasters:
            upcast_kind = self._kinds.get(upcaster.event)
            if upcast_kind is None or upcaster.version >= upcast_kind.schema_version:
                raise WiringError(f"the upcaster of {upcaster.event} from version {upcaster.version} leads nowhere")
            known = self._upcasters.setdefault((upcast_kind, upcaster.version), upcaster.upcast)
            if known is not upcaster.upcast:
                raise WiringError(f"two upcasters of {upcaster.event} begin at version {upcaster.version}")
        for kind in self._kinds.values():
            for version in range(1, kind.schema_version):
                if (kind, version) not in self._upcasters:
                    raise WiringError(
                        f"{kind.__name__} is at version {kind.schema_version}, but nothing upcasts version {version}"
                    )
        self._current = {(name, kind.schema_version): decoder(kind) for name, kind in self._kinds.items()}
        self._decode_metadata = decoder(Metadata).decode
        self._last_metadata = "{}", Metadata()

    def __contains__(self, name: str) -> bool:
        return name in self._kinds

    @property
    def kinds(self) -> Mapping[str, type[Event]]:
        """The kinds by every name under which they are stored."""
        return self._kinds

    def data(self, stored: StoredEvent) -> Event:
        """Decode an event, upcast if need be. Raises `LookupError` for a kind that isn't known any more."""
        current = self._current.get((stored.type, stored.schema_version))
        if current is not None:
            event: Event = current.decode(stored.data)
            return event
        kind = self._kinds.get(stored.type)
        if kind is None or stored.schema_version > kind.schema_version:
            raise LookupError(
                f"event {stored.position} is a {stored.type} version {stored.schema_version}, "
                f"which this program doesn't know"
            )
        plain: Data = msgspec.json.decode(stored.data)
        for version in range(stored.schema_version, kind.schema_version):
            plain = self._upcasters[kind, version](plain)
        upcast: Event = convert(plain, kind)
        return upcast

    def recorded(self, stored: StoredEvent) -> Recorded[Event]:
        """Decode an event and its envelope."""
        return Recorded(
            data=self.data(stored),
            position=stored.position,
            stream=stored.stream,
            version=stored.version,
            id=stored.id,
            time=stored.time,
            metadata=self.metadata(stored),
        )

    def metadata(self, stored: StoredEvent) -> Metadata:
        """Decode an event's metadata. Events of one unit of work have the same, decoded once."""
        text, metadata = self._last_metadata
        if stored.metadata != text:
            metadata = self._decode_metadata(stored.metadata)
            self._last_metadata = stored.metadata, metadata
        return metadata

    @staticmethod
    def encode(event: Event) -> str:
        return encode_text(event)
