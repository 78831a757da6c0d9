"""Implements `Operations` over the running modules of a service."""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from craton.application.api import OperationDefinition, operation_of
from craton.application.context import context
from craton.application.errors import MisuseError
from craton.application.operators import OPERATOR_STREAM, OperatorActed
from craton.application.page import Page, Paging
from craton.application.repository import AuditEvent
from craton.application.sagas.events import SagaId
from craton.application.sagas.state import Status
from craton.domain import Text
from craton.ports import (
    Changeset,
    EventFilter,
    KeyTaken,
    NothingParked,
    OperatorRequest,
    ParkedEvent,
    StoredEvent,
    Timer,
)
from craton.runtime.compatibility.readers import Reader
from craton.runtime.module import RunningModule
from craton.runtime.operations.api import (
    AuditEntry,
    FoundEvents,
    LeaseEntry,
    Operations,
    ParkedEntry,
    ReaderState,
    Requested,
    StreamView,
    TimerEntry,
)
from craton.runtime.operations.journal import Journal, Noted
from craton.runtime.operations.log import find_events, stream_at
from craton.runtime.operations.readers import (
    MAX_REQUESTS,
    drops,
    parked_page,
    parked_that_match,
    reader_states,
    retries,
)
from craton.runtime.operations.refusals import (
    AmbiguousProjection,
    ModuleNotFound,
    NoRollback,
    ProjectionNotFound,
    TimerNotFound,
)
from craton.runtime.projections.projection import ProjectionProgress, RunningProjection
from craton.runtime.sagas.control import SagaControl
from craton.runtime.sagas.directory import call_sagas
from craton.runtime.sagas.view import SagaSummary, SagaView
from craton.runtime.subscriptions.timers import as_new

Modules = Mapping[str, RunningModule]


class OperationsService(Operations):
    """One call of an operator's verb. `journal` records what it does."""

    def __init__(self, modules: Modules, readers: Sequence[Reader], journal: Journal) -> None:
        self._modules = modules
        self._readers = readers
        self._journal = journal

    # --- readers and their parked events -------------------------------------------------------------------------

    async def readers(self) -> tuple[ReaderState, ...]:
        return tuple(await reader_states(self._modules, self._readers))

    async def parked(
        self,
        *,
        module: str | None = None,
        reader: str | None = None,
        key: str | None = None,
        paging: Paging = Paging(),
    ) -> Page[ParkedEntry]:
        return await parked_page(self._chosen(module), reader, key, paging)

    async def retry_parked(
        self,
        module: str,
        reader: str | None = None,
        key: str | None = None,
        position: int | None = None,
        reason: Text = Text(""),
    ) -> Requested:
        return await self._ask_for_parked(retries, module, reader, key, position, reason)

    async def drop_parked(
        self,
        module: str,
        reader: str | None = None,
        key: str | None = None,
        position: int | None = None,
        reason: Text = Text(""),
    ) -> Requested:
        return await self._ask_for_parked(drops, module, reader, key, position, reason)

    async def _ask_for_parked(
        self,
        requests_for: Callable[[Sequence[ParkedEvent]], Iterable[OperatorRequest]],
        module: str,
        reader: str | None,
        key: str | None,
        position: int | None,
        reason: Text,
    ) -> Requested:
        while True:
            entries = await parked_that_match(self._module(module), self._readers, reader, key, position)
            with contextlib.suppress(NothingParked):  # one of them was handled meanwhile
                return await self._request(module, requests_for(entries), reason)

    async def _request(self, module: str, requests: Iterable[OperatorRequest], reason: Text) -> Requested:
        everything = list(requests)
        asked = everything[:MAX_REQUESTS]
        answer = Requested(events=len(asked), more=len(everything) > MAX_REQUESTS)
        first = asked[0]
        others = f" and {len(asked) - 1} more" if len(asked) > 1 else ""
        subject = f"{first.subscription} at {first.position}{others}"
        await self._journal.write(module, subject, reason, Changeset(operator_requests=asked), answer)
        return answer

    # --- projections ---------------------------------------------------------------------------------------------

    async def projections(self) -> tuple[ProjectionProgress, ...]:
        every = [projection for running in self._modules.values() for projection in running.projections.values()]
        return tuple([await projection.progress() for projection in every])

    async def projection(self, name: str) -> ProjectionProgress:
        _, projection = self._find_projection(name)
        return await projection.progress()

    async def rebuild_projection(self, name: str, reason: Text = Text("")) -> ProjectionProgress:
        module, projection = self._find_projection(name)

        return await self._journal.record(module, projection.definition.name, reason, projection.rebuild_with)

    async def roll_back_projection(self, name: str, reason: Text = Text("")) -> ProjectionProgress:
        module, projection = self._find_projection(name)
        live = (await projection.progress()).live

        async def roll_back(noted: Noted) -> tuple[ProjectionProgress, int]:
            try:
                return await projection.roll_back_with(noted, live)
            except MisuseError as refused:
                raise NoRollback(reason=str(refused)) from None

        return await self._journal.record(module, projection.definition.name, reason, roll_back)

    def _find_projection(self, name: str) -> tuple[str, RunningProjection]:
        found = {
            f"{module}.{projection}": (module, running_projection)
            for module, running in self._modules.items()
            for projection, running_projection in running.projections.items()
            if name in (projection, f"{module}.{projection}")
        }
        if not found:
            raise ProjectionNotFound()
        if len(found) > 1:
            raise AmbiguousProjection(projections=tuple(found))
        return next(iter(found.values()))

    # --- timers and leases ---------------------------------------------------------------------------------------

    async def timers(
        self, *, module: str | None = None, parked: bool | None = None, paging: Paging = Paging()
    ) -> Page[TimerEntry]:
        total, found = 0, list[TimerEntry]()
        for name, running in self._chosen(module).items():
            timers, count = await running.store.timers(paging.offset + paging.page_size, 0, parked=parked)
            found += [_timer_entry(name, timer) for timer in timers]
            total += count
        found.sort(key=lambda entry: (entry.due, entry.module, entry.id))
        return Page.of(found[paging.offset : paging.offset + paging.page_size], total, paging)

    async def retry_timer(self, module: str, timer: str, reason: Text = Text("")) -> None:
        running = self._module(module)
        found = await self._parked_timer(running, timer)
        again = as_new(found, running.background.clock())
        await self._change_timer(module, found, Changeset(timers_done=[found.id], timers=[again]), reason)

    async def drop_timer(self, module: str, timer: str, reason: Text = Text("")) -> None:
        found = await self._parked_timer(self._module(module), timer)
        await self._change_timer(module, found, Changeset(timers_done=[found.id]), reason)

    async def _change_timer(self, module: str, timer: Timer, unit: Changeset, reason: Text) -> None:
        try:
            await self._journal.write(module, f"{timer.operation} {timer.id}", reason, unit)
        except KeyTaken:
            if await self._is_parked(self._module(module), timer.id):
                raise
            raise TimerNotFound() from None

    async def _parked_timer(self, running: RunningModule, id: str) -> Timer:
        for timer in await running.store.parked_timers():
            if timer.id == id:
                return timer
        raise TimerNotFound()

    async def _is_parked(self, running: RunningModule, id: str) -> bool:
        return any(timer.id == id for timer in await running.store.parked_timers())

    async def leases(self, *, module: str | None = None) -> tuple[LeaseEntry, ...]:
        return tuple(
            [
                LeaseEntry(module=name, name=lease.name, owner=lease.owner, number=lease.number, held=lease.held)
                for name, running in self._chosen(module).items()
                for lease in await running.store.leases()
            ]
        )

    # --- the log -------------------------------------------------------------------------------------------------

    async def events(
        self,
        *,
        module: str | None = None,
        type: str | None = None,
        stream: str | None = None,
        actor: str | None = None,
        correlation: str | None = None,
        from_: datetime | None = None,
        to: datetime | None = None,
        after: str = "",
        limit: int = 50,
    ) -> FoundEvents:
        wanted = EventFilter(stream=stream, type=type, actor=actor, correlation=correlation, start=from_, end=to)
        return await find_events(self._chosen(module), wanted, after, limit)

    async def stream(
        self, stream: str, *, module: str | None = None, version: int | None = None, at: datetime | None = None
    ) -> StreamView:
        return await stream_at(self._chosen(module), stream, version, at)

    async def audit(self, *, module: str | None = None, paging: Paging = Paging()) -> Page[AuditEntry]:
        total, found = 0, list[AuditEntry]()
        for name, running in self._chosen(module).items():
            newest = await running.store.read_stream(
                OPERATOR_STREAM, limit=paging.offset + paging.page_size, descending=True
            )
            total += newest[0].version if newest else 0
            found += [_audit_entry(name, running, event) for event in newest]
        found.sort(key=lambda entry: (entry.time, entry.position), reverse=True)
        return Page.of(found[paging.offset : paging.offset + paging.page_size], total, paging)

    # --- sagas ---------------------------------------------------------------------------------------------------

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
        page: Page[SagaSummary] = await self._of_sagas(
            SagaControl.sagas, kind=kind, status=status, code=code, from_=from_, to=to, paging=paging
        )
        return page

    async def saga(self, saga: SagaId) -> SagaView:
        view: SagaView = await self._of_sagas(SagaControl.saga, saga=saga)
        return view

    async def saga_events(self, saga: SagaId, *, paging: Paging = Paging()) -> Page[AuditEvent]:
        page: Page[AuditEvent] = await self._of_sagas(SagaControl.events, saga=saga, paging=paging)
        return page

    async def retry_saga(self, saga: SagaId, reason: Text) -> None:
        await self._of_sagas(SagaControl.retry, saga=saga, reason=reason)

    async def skip_saga_step(self, saga: SagaId, step: str, reason: Text, value: dict[str, Any] | None = None) -> None:
        await self._of_sagas(SagaControl.skip, saga=saga, step=step, reason=reason, value=value)

    async def compensate_saga(self, saga: SagaId, reason: Text) -> None:
        await self._of_sagas(SagaControl.compensate, saga=saga, reason=reason)

    async def resolve_saga(self, saga: SagaId, note: Text) -> None:
        await self._of_sagas(SagaControl.resolve, saga=saga, note=note)

    async def _of_sagas(self, operation: Any, **arguments: Any) -> Any:
        definition: OperationDefinition = operation_of(operation)
        answer = await call_sagas(self._modules, definition, definition.bind((), arguments), context())
        self._journal.written = answer
        return answer.result

    # --- modules -------------------------------------------------------------------------------------------------

    def _module(self, name: str) -> RunningModule:
        if name not in self._modules:
            raise ModuleNotFound()
        return self._modules[name]

    def _chosen(self, name: str | None) -> Modules:
        return self._modules if name is None else {name: self._module(name)}


def _timer_entry(module: str, timer: Timer) -> TimerEntry:
    return TimerEntry(
        module=module,
        id=timer.id,
        operation=timer.operation,
        due=timer.due,
        attempts=timer.attempts,
        error=timer.error,
        parked=timer.parked,
    )


def _audit_entry(module: str, running: RunningModule, event: StoredEvent) -> AuditEntry:
    recorded = running.module.events.recorded(event)
    assert isinstance(recorded.data, OperatorActed)  # noqa: S101
    return AuditEntry(
        module=module,
        time=event.time,
        operator=recorded.metadata.actor,
        verb=recorded.data.verb,
        subject=recorded.data.subject,
        reason=recorded.data.reason,
        correlation=recorded.metadata.correlation,
        position=event.position,
    )
