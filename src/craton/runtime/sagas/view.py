"""A saga as it is shown to people."""

from typing import Any, TypeVar

import msgspec

from craton.application.sagas.events import SagaId
from craton.application.sagas.index import SagaRow
from craton.application.sagas.state import SagaState, Status, StepState, StepStatus
from craton.domain import Value
from craton.domain.value import Instant

V = TypeVar("V", bound=Value)


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
    def of(cls, step: StepState, *, internals: bool) -> "StepView":
        """With `internals`, errors are shown in full; without, an error that isn't a refusal is hidden."""
        return _shown(cls, step, error=step.error if internals or step.code or not step.error else "unavailable")


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
        return _shown(cls, row.state, id=row.saga)


class SagaView(Value):
    """The state of a saga: `reason` says why it compensates, `note` why it is stuck or how it was resolved."""

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
    def of(cls, id: SagaId, version: int, state: SagaState, *, internals: bool) -> "SagaView":
        return _shown(
            cls,
            state,
            id=id,
            fields=msgspec.json.decode(state.fields),
            steps=tuple(StepView.of(step, internals=internals) for step in state.steps),
            version=version,
        )


def _shown(kind: type[V], state: Value, **others: Any) -> V:
    """The visible part of a state: the fields with the same names, and others."""
    same = {name: getattr(state, name) for name in kind.__struct_fields__ if name not in others}
    return kind(**same, **others)
