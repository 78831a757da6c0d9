"""What the log says of sagas: a line for each step that goes wrong, and for each turn that a saga takes."""

from typing import Any

import structlog

from craton.application.sagas.actions import Action, ActionOutcome, Refused, Unknown
from craton.application.sagas.state import SagaState, Status

log = structlog.get_logger("craton.sagas")

_WHAT = {"do": "step", "undo": "undo", "settle": "settling of a step"}


def tell_outcome(saga: str, action: Action, outcome: ActionOutcome, state: SagaState) -> None:
    """Say what went wrong with an action, if something did; `state` is what has come of it."""
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
    """Say that a saga is compensated, is stuck, or has ended so."""
    about: dict[str, Any] = {"saga": saga, "kind": state.saga, "correlation": state.correlation}
    if state.status is before:
        return
    match state.status:
        case Status.COMPENSATING:
            log.warning("the saga is compensated", **about, code=state.code, reason=state.reason)
        case Status.COMPENSATED:
            log.info("the saga was compensated", **about, code=state.code, reason=state.reason)
        case Status.STUCK:
            log.error("the saga is stuck and wants an operator", **about, note=state.note, reason=state.reason)
