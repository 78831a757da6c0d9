"""The sagas of a module in rows: to list them, and to find those that somebody must look at."""

from craton.application.projection import Projection
from craton.application.sagas.state import SagaEvent, SagaId, SagaStarted, SagaState, begun, evolve
from craton.application.view import Column, Index, Key, Row, Rows
from craton.domain import Recorded
from craton.domain.value import Instant


class SagaRow(Row):
    saga: Key[SagaId]
    kind: Index[str]
    status: Index[str]
    started_at: Index[Instant]
    due_at: Index[Instant | None]
    fingerprint: Column[str]
    open: Index[int]
    """1 until it has ended, then 0."""
    state: SagaState


class SagaIndex(Projection):
    """Each saga as it stands."""

    name = "sagas"
    version = 1
    sagas: Rows[SagaRow]

    def project(self, event: Recorded[SagaEvent]) -> None:
        id, fact = SagaId(event.subject), event.data
        if isinstance(fact, SagaStarted):
            self.sagas.put(_row(id, begun(fact)))
        else:
            self.sagas.change(id, change=lambda row: _row(id, evolve(row.state, fact)))


def _row(id: SagaId, state: SagaState) -> SagaRow:
    return SagaRow(
        saga=id,
        kind=state.saga,
        status=state.status,
        started_at=state.started_at,
        due_at=min(state.times, default=None),
        fingerprint=state.fingerprint,
        open=int(not state.ended),
        state=state,
    )
