"""The log lines about sagas: one for each step that goes wrong, and one for each change of direction."""

from typing import Any

import structlog

from craton.application.sagas.actions import Action, ActionOutcome, Refused, Unknown
from craton.application.sagas.state import SagaState, Status

log = structlog.get_logger("craton.sagas")

_WHAT = {"do": "step", "undo": "undo", "settle": "check whether the step ran"}


def tell_outcome(saga: str, action: Action, outcome: ActionOutcome, state: SagaState) -> None:
    """Log a failed action; `state` is the saga's state after it."""
    step = state.step(action.step)
    about: dict[str, Any] = {"saga": saga, "kind": state.saga, "step": action.step, "correlation": state.correlation}
    what = _WHAT[action.kind]
    match outcome:
        case Unknown(error=error):
            attempts = step.undo_attempts if action.kind == "undo" else step.attempts
            log.warning(f"the {what} has failed", **about, attempts=attempts, error=error)
        case Refused(code=code, detail=detail) if action.kind == "undo":
            log.warning(f"the {what} was refused", **about, code=code, reason=detail)
        case Refused(code=code, detail=detail):
            log.info(f"the {what} was refused", **about, code=code, reason=detail)


def tell_turn(saga: str, before: Status, state: SagaState) -> None:
    """Log that a saga compensates, is stuck, or has ended by compensation."""
    about: dict[str, Any] = {"saga": saga, "kind": state.saga, "correlation": state.correlation}
    if state.status is before:
        return
    match state.status:
        case Status.COMPENSATING:
            log.warning("the saga compensates", **about, code=state.code, reason=state.reason)
        case Status.COMPENSATED:
            log.info("the saga was compensated", **about, code=state.code, reason=state.reason)
        case Status.STUCK:
            log.error("the saga is stuck and needs an operator", **about, note=state.note, reason=state.reason)
