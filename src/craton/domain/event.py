"""Events: immutable facts in the past tense."""

from datetime import datetime
from typing import ClassVar, Generic, TypeVar

from craton.domain.immutable import Immutable

E_co = TypeVar("E_co", bound="Event", covariant=True)


class Event(Immutable):
    """A fact. Subclass it and annotate what it says: `class MoneyWithdrawn(Event): amount: Money`.

    `schema_version` is raised when the shape of the fact changes; an upcaster then turns the old shape into the
    new one. A class that is renamed says under which names the fact was stored before:
    `aliases = ("CashWithdrawn",)`.
    """

    schema_version: ClassVar[int] = 1
    aliases: ClassVar[tuple[str, ...]] = ()


class Metadata(Immutable, omit_defaults=True):
    """Who and what caused an event."""

    actor: str | None = None
    tenant: str | None = None
    correlation: str | None = None
    """Id of the whole conversation: the first request and all that followed from it."""
    causation: str | None = None
    """Id of the message that directly caused this one."""
    key: str | None = None
    """The idempotency key of the command."""


class Recorded(Immutable, Generic[E_co]):
    """An event and its envelope, as it stands in the log."""

    data: E_co
    position: int
    """Place in the module's log, from 1; later commits have larger positions, and numbers may be missing."""
    stream: str
    """The aggregate it belongs to, as `account-0195…`."""
    version: int
    """Place in its stream, from 1, without a gap."""
    id: str
    time: datetime
    metadata: Metadata

    @property
    def subject(self) -> str:
        """The id of the aggregate: the stream's name without its kind."""
        return self.stream.partition("-")[2]
