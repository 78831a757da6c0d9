"""The commands that change a saga: those of its driver, and those of operators. Each is one commit."""

from datetime import datetime
from typing import Any

import msgspec

from craton.application.access import permit
from craton.application.api import Api, command, query
from craton.application.context import context
from craton.application.operators import OPERATOR_LOG, OperatorLog
from craton.application.page import Page, Paging, within
from craton.application.repository import AuditEvent, Repository
from craton.application.sagas.actions import Action, ActionOutcome
from craton.application.sagas.definition import SagaDefinition
from craton.application.sagas.events import SagaId
from craton.application.sagas.index import SagaRow
from craton.application.sagas.rules import SagaProcess
from craton.application.sagas.state import SagaState, Status
from craton.application.unit_of_work import now
from craton.application.view import View
from craton.domain import Conflict, Instant, Text
from craton.runtime.sagas.view import SagaSummary, SagaView


class Stranded(Conflict):
    """This program doesn't have the definition that the saga was started with."""


class SagaProgress(msgspec.Struct, frozen=True):
    """A saga's state, the actions to run now (none if this program can't run it), and when to look again."""

    state: SagaState
    actions: tuple[Action, ...] = ()
    look_at: datetime | None = None
    is_late: bool = False


class SagaControl(Api):
    @query
    async def saga(self, saga: SagaId) -> SagaView:
        """The state of a saga, step by step; for the user that started it, and for operators."""

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
        """The sagas of the module, newest first."""

    @query
    async def events(self, saga: SagaId, *, paging: Paging = Paging()) -> Page[AuditEvent]:
        """All events of a saga, newest first, with what caused each of them."""

    @query
    async def look(self, saga: SagaId) -> SagaProgress:
        """The actions to run now."""

    @command
    async def expire(self, saga: SagaId) -> SagaProgress:
        """Give up what has taken too long; return what is to be done then."""

    @command
    async def report(self, saga: SagaId, action: Action, outcome: ActionOutcome) -> SagaProgress:
        """Record what came of an action; return what is to be done next."""

    @command
    async def arrive(self, saga: SagaId, kind: str, step: str, event: str) -> None:
        """Give a saga of this kind an event that one of its steps waits for. Does nothing if there is no such saga."""

    @command
    async def retry(self, saga: SagaId, reason: Text) -> None:
        """Try again what has failed in a stuck saga."""

    @command
    async def skip(self, saga: SagaId, step: str, reason: Text, value: dict[str, Any] | None = None) -> None:
        """Count a step, or its compensation, as done, with values for some of the saga's fields."""

    @command
    async def compensate(self, saga: SagaId, reason: Text) -> None:
        """Undo the steps that the saga has done."""

    @command
    async def resolve(self, saga: SagaId, note: Text) -> None:
        """End the saga in its present state, because the matter was settled by other means."""


class SagaControlService(SagaControl):
    def __init__(
        self,
        processes: Repository[SagaProcess],
        operators: Repository[OperatorLog],
        rows: View[SagaRow],
        definitions: dict[str, SagaDefinition[Any]],
        roles: frozenset[str],
    ) -> None:
        self._processes = processes
        self._operators = operators
        self._roles = roles
        self._rows = rows
        self._definitions = definitions

    async def saga(self, saga: SagaId) -> SagaView:
        process = await self._processes.get(saga)
        permit(process.state.actor, *self._roles)
        caller = context().caller
        insider = caller is None or caller.has(self._roles)
        return SagaView.of(process.id, process.version, process.state, internals=insider)

    async def sagas(
        self,
        *,
        kind: str | None = None,
        status: Status | None = None,
        code: str | None = None,
        from_: datetime | None = None,
        to: datetime | None = None,
        paging: Paging = Paging(),
    ) -> Page[SagaSummary]:
        page = await self._rows.page(
            kind=kind, status=status, code=code, started_at=within(from_, to), order="-started_at", paging=paging
        )
        return page.map(SagaSummary.of)

    async def events(self, saga: SagaId, *, paging: Paging = Paging()) -> Page[AuditEvent]:
        return await self._processes.audit(saga, paging)

    async def look(self, saga: SagaId) -> SagaProgress:
        process = await self._processes.get(saga)
        return SagaProgress(process.state) if self._definition(process) is None else _progress(process)

    async def expire(self, saga: SagaId) -> SagaProgress:
        process = await self._processes.get(saga)
        process.expire(self._known(process), now())
        return _progress(process)

    async def report(self, saga: SagaId, action: Action, outcome: ActionOutcome) -> SagaProgress:
        process = await self._processes.get(saga)
        process.report(self._known(process), action, outcome, now())
        return _progress(process)

    async def arrive(self, saga: SagaId, kind: str, step: str, event: str) -> None:
        process = await self._processes.find(saga)
        if process is not None and process.state.saga == kind:
            process.arrive(step, event, now())

    async def retry(self, saga: SagaId, reason: Text) -> None:
        process = await self._processes.get(saga)
        process.retry(self._known(process), reason, now())
        await self._note("retry_saga", process, reason)

    async def skip(self, saga: SagaId, step: str, reason: Text, value: dict[str, Any] | None = None) -> None:
        process = await self._processes.get(saga)
        process.skip(self._known(process), step, value or {}, reason, now())
        await self._note("skip_saga_step", process, reason, f" step {step}")

    async def compensate(self, saga: SagaId, reason: Text) -> None:
        process = await self._processes.get(saga)
        process.compensate(self._known(process), reason, now())
        await self._note("compensate_saga", process, reason)

    async def resolve(self, saga: SagaId, note: Text) -> None:
        process = await self._processes.get(saga)
        process.resolve(note, now())
        await self._note("resolve_saga", process, note)

    async def _note(self, verb: str, process: SagaProcess, reason: Text, step: str = "") -> None:
        """Record an operator's action, in the same commit as its effect."""
        log = await self._operators.find_or_add(OPERATOR_LOG)
        log.note(verb, f"{process.state.saga} {process.id}{step}", reason)

    def _definition(self, process: SagaProcess) -> SagaDefinition[Any] | None:
        definition = self._definitions.get(process.state.saga)
        return definition if definition and process.state.fingerprint in definition.fingerprints else None

    def _known(self, process: SagaProcess) -> SagaDefinition[Any]:
        definition = self._definition(process)
        if definition is None:
            raise Stranded()
        return definition


def _progress(process: SagaProcess) -> SagaProgress:
    time = now()
    look_at = min((at for at in process.state.times if at > time), default=None)
    return SagaProgress(process.state, process.actions(time), look_at, process.is_late(time))
