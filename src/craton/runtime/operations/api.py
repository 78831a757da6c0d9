"""What operators ask of a service and do to it. HTTP and the command line stand on this one Api.

Each verb takes a reason. It is recorded, with who did what, in the same commit as what it does.
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
    """Something that reads a module's log, and how far it has got."""

    module: str
    """Where it belongs; its progress lies in this module's store."""
    name: str
    """What its progress is kept under."""
    kind: str
    """`projection`, `policy`, `saga step`, `sagas` or `seals`."""
    source: str
    """The module whose log it reads."""
    position: int
    head: int
    lag: int
    parked: int
    owner: str | None
    """The process that runs it now; None if there is none."""


class ParkedEntry(Value):
    """An event that couldn't be handled, or that waits behind such a one with the same key."""

    module: str
    reader: str
    position: int
    key: str
    error: str
    """Empty: it waits behind another."""
    attempts: int
    since: Instant
    request: str
    """What an operator has asked for already: `retry` or `drop`."""


class Requested(Value):
    """What was asked for; the process that runs the reader carries it out."""

    events: int
    """How many parked events were asked for by name. A retry takes those behind them along."""
    more: bool
    """Whether there are others that match: ask again."""


class TimerEntry(Value):
    """A command that is to run at a time. Its arguments aren't shown, because they may be secret."""

    module: str
    id: str
    operation: str
    due: Instant
    attempts: int
    error: str
    parked: bool
    """Whether it is kept for an operator and not tried any more."""


class LeaseEntry(Value):
    """Who may do, or was the last to do, what only one process may do at a time."""

    module: str
    name: str
    owner: str
    number: int
    """Grows each time the lease changes hands."""
    held: bool


class EventEntry(Value):
    """An event of a module's log, secrets masked."""

    module: str
    position: int
    stream: str
    version: int
    id: str
    type: str
    time: Instant
    data: dict[str, Any] | None
    """None: this program can't read it."""
    metadata: dict[str, Any]


class FoundEvents(Value):
    """Events, newest first. Of each module a bounded number is looked at."""

    events: tuple[EventEntry, ...]
    next: str
    """Given as `after`, the search goes on from there; empty when it has reached the beginning."""


class Change(Value):
    """A field of an aggregate's state, before an event and after it; None where there was nothing."""

    before: Any
    after: Any


class StreamView(Value):
    """An aggregate as it was at a version, and what that event has changed. Secrets are masked."""

    version_tells_all: ClassVar[bool] = False

    module: str
    stream: str
    kind: str
    version: int
    newest: int
    """The version it has now."""
    event: EventEntry
    state: dict[str, Any]
    changed: dict[str, Change]


class AuditEntry(Value):
    """What an operator has done."""

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
        """Everything that reads a log: projections, policies, steps of sagas that wait, seals; with how far it is."""

    @query
    async def projections(self) -> tuple[ProjectionProgress, ...]:
        """The read models, their generations and how far each has got."""

    @query
    async def projection(self, name: str) -> ProjectionProgress:
        """One read model, by its name or as `module.name`."""

    @command
    async def rebuild_projection(self, name: str, reason: Text = Text("")) -> ProjectionProgress:
        """Build a read model anew beside the live one, which answers until the new one has caught up."""

    @command
    async def roll_back_projection(self, name: str, reason: Text = Text("")) -> ProjectionProgress:
        """Make the generation before the live one live again."""

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
        """Have parked events tried again, each with all of its key: one, those of a key, of a reader, or all."""

    @command
    async def drop_parked(
        self,
        module: str,
        reader: str | None = None,
        key: str | None = None,
        position: int | None = None,
        reason: Text = Text(""),
    ) -> Requested:
        """Give parked events up: one, those of a key, of a reader, or all; those behind them are tried."""

    @query
    async def timers(
        self, *, module: str | None = None, parked: bool | None = None, paging: Paging = Paging()
    ) -> Page[TimerEntry]:
        """The commands that wait for their time, or, parked, for an operator."""

    @command
    async def retry_timer(self, module: str, timer: str, reason: Text = Text("")) -> None:
        """Have a parked timer tried as if for the first time."""

    @command
    async def drop_timer(self, module: str, timer: str, reason: Text = Text("")) -> None:
        """Give a parked timer up: its command never runs."""

    @query
    async def leases(self, *, module: str | None = None) -> tuple[LeaseEntry, ...]:
        """Which process does what only one may do at a time."""

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
        """An aggregate's state at a version or a time, and what the last event had changed."""

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
        """The sagas, newest first, by when they began."""

    @query
    async def saga(self, saga: SagaId) -> SagaView:
        """How a saga stands, step by step; for its own user, and for operators."""

    @query
    async def saga_events(self, saga: SagaId, *, paging: Paging = Paging()) -> Page[AuditEvent]:
        """All that happened to a saga, newest first, with who caused it."""

    @command
    async def retry_saga(self, saga: SagaId, reason: Text) -> None:
        """Have what is stuck tried again."""

    @command
    async def skip_saga_step(self, saga: SagaId, step: str, reason: Text, value: dict[str, Any] | None = None) -> None:
        """Take a step, or its compensation, as done, with a value for some of the saga's fields."""

    @command
    async def compensate_saga(self, saga: SagaId, reason: Text) -> None:
        """Undo what was done."""

    @command
    async def resolve_saga(self, saga: SagaId, note: Text) -> None:
        """End it as it stands, because the matter was settled by other means."""
