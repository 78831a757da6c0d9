"""Events: immutable facts in the past tense."""

from datetime import datetime
from typing import ClassVar, Generic, TypeVar

from craton.domain.immutable import Immutable

E_co = TypeVar("E_co", bound="Event", covariant=True)


class Event(Immutable):
    """A fact. Subclass it and annotate its content: `class MoneyWithdrawn(Event): amount: Money`.

    Increase `schema_version` when the shape of the fact changes; an upcaster then converts the old shape into the new
    one. A renamed class lists the names under which the fact was stored before:
    `aliases = ("CashWithdrawn",)`.
    """

    schema_version: ClassVar[int] = 1
    aliases: ClassVar[tuple[str, ...]] = ()


class Metadata(Immutable, omit_defaults=True):
    """What caused an event: the actor, the message and the conversation."""

    actor: str | None = None
    tenant: str | None = None
    correlation: str | None = None
    """The id of the whole conversation: the first request and everything that followed from it."""
    causation: str | None = None
    """The id of the message that directly caused this event."""
    key: str | None = None
    """The idempotency key of the command."""


class Recorded(Immutable, Generic[E_co]):
    """An event and its envelope, as it stands in the log."""

    data: E_co
    position: int
    """Its place in the module's log, from 1. Later commits have larger positions; numbers may be missing."""
    stream: str
    """The aggregate that it belongs to, as `account-0195…`."""
    version: int
    """Its place in its stream, from 1, without gaps."""
    id: str
    time: datetime
    metadata: Metadata

    @property
    def subject(self) -> str:
        """The id of the aggregate: the stream's name without its prefix."""
        return self.stream.partition("-")[2]
