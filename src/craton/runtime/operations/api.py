"""What operators ask of a service and do to it. HTTP and the command line both use this one Api.

Each verb takes a reason. The reason, the verb and the operator are recorded in the same commit as the effect.
"""

from typing import Annotated, Any, ClassVar

from msgspec import Meta

from craton.application.api import Api, command, query
from craton.application.page import Page, Paging
from craton.application.repository import AuditEvent
from craton.application.sagas.events import SagaId
from craton.application.sagas.state import Status
from craton.domain import Instant, Text, Value
from craton.runtime.projections.projection import ProjectionProgress
from craton.runtime.sagas.view import SagaSummary, SagaView

MAX_LISTED_EVENTS = 200

Limit = Annotated[int, Meta(ge=1, le=MAX_LISTED_EVENTS)]
Version = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class ReaderState(Value):
    """Something that reads a module's log, and its progress."""

    module: str
    """The module it belongs to; its progress lies in this module's store."""
    name: str
    """The name under which its progress is stored."""
    kind: str
    """`projection`, `policy`, `saga step`, `sagas` or `seals`."""
    source: str
    """The module whose log it reads."""
    position: int
    head: int | None
    """The end of that log; None if the service that runs the module doesn't answer."""
    lag: int | None
    parked: int
    owner: str | None
    """The process that runs it now; None if there is none."""


class ParkedEntry(Value):
    """An event that couldn't be handled, or that waits behind one with the same key that couldn't."""

    module: str
    reader: str
    position: int
    key: str
    error: str
    """Why the event couldn't be handled; empty if it only waits behind another."""
    attempts: int
    since: Instant
    request: str
    """What an operator has already asked for: `retry` or `drop`; empty if nothing."""


class Requested(Value):
    """The answer to a request: the process that runs the reader carries the request out."""

    events: int
    """How many parked events the request names. A retry also tries the events that wait behind them."""
    more: bool
    """Whether more events match than one request can name: repeat the request for them."""


class TimerEntry(Value):
    """A command that is scheduled for a time. Its arguments aren't shown, because they may be secret."""

    module: str
    id: str
    operation: str
    due: Instant
    attempts: int
    error: str
    parked: bool
    """Whether it waits for an operator and isn't tried any more."""


class LeaseEntry(Value):
    """The process that does, or was the last to do, some work that only one process may do at a time."""

    module: str
    name: str
    owner: str
    number: int
    """Grows each time the lease changes hands."""
    held: bool


class EventEntry(Value):
    """An event of a module's log, with its secrets masked."""

    module: str
    position: int
    stream: str
    version: int
    id: str
    type: str
    time: Instant
    data: dict[str, Any] | None
    """The event's fields; None if this program can't read the event."""
    metadata: dict[str, Any]


class FoundEvents(Value):
    """Events, newest first. A call looks at a bounded number of events in each module."""

    events: tuple[EventEntry, ...]
    next: str
    """Pass this as `after` to continue the search; empty when the search has reached the beginning of the log."""


class Change(Value):
    """A field of an aggregate's state before and after an event; None where the field didn't exist."""

    before: Any
    after: Any


class StreamView(Value):
    """An aggregate at a version, and what the event of that version changed. Secrets are masked."""

    version_tells_all: ClassVar[bool] = False

    module: str
    stream: str
    kind: str
    version: int
    newest: int
    """The aggregate's present version."""
    event: EventEntry
    state: dict[str, Any]
    changed: dict[str, Change]


class AuditEntry(Value):
    """An action of an operator."""

    module: str
    time: Instant
    operator: str | None
    verb: str
    subject: str
    reason: str
    correlation: str | None
    position: int


class Operations(Api):
    """What operators see of a service, and what they do to it."""

    @query
    async def readers(self) -> tuple[ReaderState, ...]:
        """Every reader of a log, with its progress: projections, policies, steps of sagas that wait, and seals."""

    @query
    async def projections(self) -> tuple[ProjectionProgress, ...]:
        """The read models, with their generations and the progress of each."""

    @query
    async def projection(self, name: str) -> ProjectionProgress:
        """One read model, by its name or as `module.name`."""

    @command
    async def rebuild_projection(self, name: str, reason: Text = Text("")) -> ProjectionProgress:
        """Build a read model again beside the live one, which answers queries until the new one has caught up."""

    @command
    async def roll_back_projection(self, name: str, reason: Text = Text("")) -> ProjectionProgress:
        """Make the previous generation live again."""

    @query
    async def parked(
        self,
        *,
        module: str | None = None,
        reader: str | None = None,
        key: str | None = None,
        paging: Paging = Paging(),
    ) -> Page[ParkedEntry]:
        """The parked events, oldest first."""

    @command
    async def retry_parked(
        self,
        module: str,
        reader: str | None = None,
        key: str | None = None,
        position: int | None = None,
        reason: Text = Text(""),
    ) -> Requested:
        """Try parked events again, each with all events of its key: one event, those of a key or a reader, or all."""

    @command
    async def drop_parked(
        self,
        module: str,
        reader: str | None = None,
        key: str | None = None,
        position: int | None = None,
        reason: Text = Text(""),
    ) -> Requested:
        """Drop parked events: one event, those of a key or a reader, or all. The events behind them are then tried."""

    @query
    async def timers(
        self, *, module: str | None = None, parked: bool | None = None, paging: Paging = Paging()
    ) -> Page[TimerEntry]:
        """The commands that wait for their time or, if parked, for an operator."""

    @command
    async def retry_timer(self, module: str, timer: str, reason: Text = Text("")) -> None:
        """Try a parked timer again, with all its attempts."""

    @command
    async def drop_timer(self, module: str, timer: str, reason: Text = Text("")) -> None:
        """Drop a parked timer: its command never runs."""

    @query
    async def leases(self, *, module: str | None = None) -> tuple[LeaseEntry, ...]:
        """The leases: which process does the work that only one process may do at a time."""

    @query
    async def events(
        self,
        *,
        module: str | None = None,
        type: str | None = None,
        stream: str | None = None,
        actor: str | None = None,
        correlation: str | None = None,
        from_: Instant | None = None,
        to: Instant | None = None,
        after: str = "",
        limit: Limit = 50,
    ) -> FoundEvents:
        """Events of the log, newest first."""

    @query
    async def stream(
        self, stream: str, *, module: str | None = None, version: Version | None = None, at: Instant | None = None
    ) -> StreamView:
        """An aggregate's state at a version or a time, and what the last event before it changed."""

    @query
    async def audit(self, *, module: str | None = None, paging: Paging = Paging()) -> Page[AuditEntry]:
        """What operators have done, newest first."""

    @query
    async def sagas(
        self,
        *,
        kind: str | None = None,
        status: Status | None = None,
        code: str | None = None,
        from_: Instant | None = None,
        to: Instant | None = None,
        paging: Paging = Paging(),
    ) -> Page[SagaSummary]:
        """The sagas, newest first, by the time they began."""

    @query
    async def saga(self, saga: SagaId) -> SagaView:
        """The state of a saga, step by step; for the user that started it, and for operators."""

    @query
    async def saga_events(self, saga: SagaId, *, paging: Paging = Paging()) -> Page[AuditEvent]:
        """All events of a saga, newest first, with what caused each of them."""

    @command
    async def retry_saga(self, saga: SagaId, reason: Text) -> None:
        """Try again what has failed in a stuck saga."""

    @command
    async def skip_saga_step(self, saga: SagaId, step: str, reason: Text, value: dict[str, Any] | None = None) -> None:
        """Count a step, or its compensation, as done, with values for some of the saga's fields."""

    @command
    async def compensate_saga(self, saga: SagaId, reason: Text) -> None:
        """Undo the steps that the saga has done."""

    @command
    async def resolve_saga(self, saga: SagaId, note: Text) -> None:
        """End the saga in its present state, because the matter was settled by other means."""
