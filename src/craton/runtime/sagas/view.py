"""A saga as it is shown to people."""

from typing import Any

import msgspec

from craton.application.sagas.index import SagaRow
from craton.application.sagas.state import SagaId, SagaState, Status, StepState, StepStatus
from craton.domain import Value
from craton.domain.value import Instant


class StepView(Value):
    name: str
    status: StepStatus
    attempts: int
    undo_attempts: int
    begun_at: Instant | None
    ended_at: Instant | None
    retry_at: Instant | None
    code: str
    error: str

    @classmethod
    def of(cls, step: StepState) -> "StepView":
        return cls(
            name=step.name,
            status=step.status,
            attempts=step.attempts,
            undo_attempts=step.undo_attempts,
            begun_at=step.begun_at,
            ended_at=step.ended_at,
            retry_at=step.retry_at,
            code=step.code,
            error=step.error,
        )


class SagaSummary(Value):
    id: SagaId
    saga: str
    status: Status
    code: str
    reason: str
    started_at: Instant
    ended_at: Instant | None

    @classmethod
    def of(cls, row: SagaRow) -> "SagaSummary":
        state = row.state
        return cls(
            id=row.saga,
            saga=state.saga,
            status=state.status,
            code=state.code,
            reason=state.reason,
            started_at=state.started_at,
            ended_at=state.ended_at,
        )


class SagaView(Value):
    """How a saga stands: `reason` says why it compensates, `note` why it is stuck or how it was resolved."""

    id: SagaId
    saga: str
    status: Status
    code: str
    reason: str
    note: str
    started_at: Instant
    ended_at: Instant | None
    deadline: Instant | None
    fields: dict[str, Any]
    steps: tuple[StepView, ...]
    version: int

    @classmethod
    def of(cls, id: SagaId, version: int, state: SagaState) -> "SagaView":
        return cls(
            id=id,
            saga=state.saga,
            status=state.status,
            code=state.code,
            reason=state.reason,
            note=state.note,
            started_at=state.started_at,
            ended_at=state.ended_at,
            deadline=state.deadline,
            fields=msgspec.json.decode(state.fields),
            steps=tuple(map(StepView.of, state.steps)),
            version=version,
        )
