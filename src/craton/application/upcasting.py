"""Events by name, and the conversion of their old shapes to the present one."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from craton.application.codec import convert, decoder, encode_to_keep
from craton.application.errors import WiringError
from craton.domain import Event, Metadata, Recorded
from craton.domain.immutability import is_immutable
from craton.ports import StoredEvent

Data = dict[str, Any]


class Upcaster(msgspec.Struct, frozen=True):
    """Converts the plain data of `event` from schema version `version` to `version + 1`."""

    event: str
    version: int
    upcast: Callable[[Data], Data]


def stored_names(kinds: Iterable[type[Event]]) -> frozenset[str]:
    """Return the names under which events of some kinds are stored: the present names and the former ones."""
    return frozenset(name for kind in kinds for name in _names_of(kind))


class UndecodableEvent(LookupError):
    """This program can't read a stored event. The message names the event and the reason.

    `is_newer`: a newer version of the program has written it.
    """

    def __init__(self, stored: StoredEvent, why: str, *, is_newer: bool = False) -> None:
        self.is_newer = is_newer
        super().__init__(
            f"the event at position {stored.position}, {stored.type} version {stored.schema_version} "
            f"(the event number {stored.version} of {stored.stream}), can't be decoded: {why}"
        )


def _names_of(kind: type[Event]) -> tuple[str, ...]:
    return kind.__name__, *vars(kind).get("aliases", ())  # not the aliases of a base class, which is another kind


class EventTypes:
    """The kinds of events that a module knows, by every name under which they are stored, and the `retired` names.

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
        """Events with these names are skipped."""
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
        self._shared = {name for name, kind in self._kinds.items() if is_immutable(kind)}
        self._decode_metadata = decoder(Metadata).decode
        self._last_metadata = "{}", Metadata()

    def __contains__(self, name: str) -> bool:
        return name in self._kinds

    @property
    def kinds(self) -> Mapping[str, type[Event]]:
        """The kinds of events, by every name under which they are stored."""
        return self._kinds

    def data(self, stored: StoredEvent) -> Event:
        """Decode an event and upcast it if necessary. Raises `UndecodableEvent`."""
        current = self._current.get((stored.type, stored.schema_version))
        try:
            event: Event = self._upcast(stored) if current is None else current.decode(stored.data)
        except Exception as problem:
            why = f"{type(problem).__name__}: {problem}"
            raise UndecodableEvent(stored, why, is_newer=self.is_newer(stored)) from problem
        return event

    def is_newer(self, stored: StoredEvent) -> bool:
        """Whether a newer version of the program has written an event, which this one can't read."""
        kind = self._kinds.get(stored.type)
        return kind is not None and stored.schema_version > kind.schema_version

    def _upcast(self, stored: StoredEvent) -> Any:
        kind = self._kinds.get(stored.type)
        if kind is None or self.is_newer(stored):
            raise LookupError("this program doesn't know its version")
        plain: Data = msgspec.json.decode(stored.data)
        for version in range(stored.schema_version, kind.schema_version):
            plain = self._upcasters[kind, version](plain)
        return convert(plain, kind)

    def may_be_shared(self, name: str) -> bool:
        """Whether events of a type never change, so that several readers can share one."""
        return name in self._shared

    def recorded(self, stored: StoredEvent, fact: Event | None = None) -> Recorded[Event]:
        """Decode an event, unless `fact` is given, and its envelope."""
        return Recorded(
            data=self.data(stored) if fact is None else fact,
            position=stored.position,
            stream=stored.stream,
            version=stored.version,
            id=stored.id,
            time=stored.time,
            metadata=self.metadata(stored),
        )

    def metadata(self, stored: StoredEvent) -> Metadata:
        """Decode an event's metadata. The events of one unit of work share it, so it is decoded once."""
        text, metadata = self._last_metadata
        if stored.metadata != text:
            metadata = self._decode_metadata(stored.metadata)
            self._last_metadata = stored.metadata, metadata
        return metadata

    @staticmethod
    def encode(event: Event) -> str:
        """Return the event in its stored form. Raises `NotStorable`."""
        return encode_to_keep(event, type(event), type(event).__name__).decode()
