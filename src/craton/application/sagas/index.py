"""The sagas of a module in rows: for lists, and for finding those that need an operator."""

from craton.application.projection import Projection
from craton.application.rows import Column, Index, Key, Row
from craton.application.sagas.events import SagaEvent, SagaId
from craton.application.sagas.rules import SagaProcess
from craton.application.sagas.state import SagaState
from craton.domain import Instant, Recorded


class SagaRow(Row):
    saga: Key[SagaId]
    kind: Index[str]
    status: Index[str]
    started_at: Index[Instant]
    ended_at: Index[Instant | None]
    due_at: Index[Instant | None]
    code: Column[str]
    fingerprint: Column[str]
    open: Index[int]
    """1 while the saga runs, 0 after it has ended."""
    state: SagaState


class SagaIndex(Projection):
    """Keeps the present state of each saga."""

    name = "sagas"
    version = 2

    @classmethod
    def may_be_missing(cls, row: SagaRow) -> bool:
        """Sagas that ended long ago are forgotten here."""
        return not row.open

    def row(self, process: SagaProcess, event: Recorded[SagaEvent]) -> SagaRow:
        state = process.state
        return SagaRow(
            saga=process.id,
            kind=state.saga,
            status=state.status,
            started_at=state.started_at,
            ended_at=state.ended_at,
            code=state.code,
            due_at=min(state.times, default=None),
            fingerprint=state.fingerprint,
            open=int(not state.ended),
            state=state,
        )
