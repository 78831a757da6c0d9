"""Runs one action of a saga: a step, its compensation, or the check whether a step ran."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec
import structlog

from craton.application.codec import decode, encode
from craton.application.command_keys import CommandKeys
from craton.application.context import Context, entered
from craton.application.errors import AnswerNotKept, CallFailed, KeyReused
from craton.application.sagas.actions import Action, ActionOutcome, Done, Refused, Settled, Unknown
from craton.application.sagas.definition import Cause, Method, SagaDefinition
from craton.application.sagas.rules import only_commands
from craton.application.sagas.state import SagaState, StepState
from craton.application.upcasting import stored_names
from craton.domain import DomainError, Recorded, world
from craton.runtime.process.attempt import ATTEMPT_SECONDS, attempt
from craton.runtime.projections.handler import describe

MAX_ERROR_LENGTH: Final = 500

log = structlog.get_logger("craton.sagas")

Provide = Callable[[dict[str, Any]], dict[str, Any]]


class StepRunner:
    """Runs the steps of one kind of saga. `provide` makes the parameters of their methods."""

    def __init__(self, definition: SagaDefinition[Any], provide: Provide, clock: Callable[[], datetime]) -> None:
        self._definition = definition
        self._clock = clock
        self._given = {name: provide(dependencies) for name, dependencies in definition.dependencies.items()}
        self._undo_given = {name: provide(dependencies) for name, dependencies in definition.undo_dependencies.items()}

    async def run(self, id: str, state: SagaState, action: Action) -> ActionOutcome:
        """Run an action. Raises nothing except when it is cancelled."""
        step = state.step(action.step)
        key = f"{id}/{action.step}"
        if action.kind == "undo":
            keys = CommandKeys(f"{key}/undo", step.undo_refused, is_repeated=step.undo_attempts > 0)
        else:
            keys = CommandKeys(key, step.refused, settles=action.kind == "settle", is_repeated=step.attempts > 0)
        seconds = self._seconds(step) if action.kind == "do" else ATTEMPT_SECONDS
        context = Context(
            id=keys.name,
            actor=state.actor,
            tenant=state.tenant,
            correlation=state.correlation,
            deadline=world.monotonic() + seconds,
            command_keys=keys,
        )
        with entered(context):
            try:
                return await self._attempt(
                    step, action.kind, keys, seconds, Cause(code=state.code, reason=state.reason)
                )
            except Exception as problem:
                return Unknown(_shortened(describe(problem)), {})

    async def _attempt(
        self, step: StepState, kind: str, keys: CommandKeys, seconds: float, cause: Cause
    ) -> ActionOutcome:
        definition = self._definition
        saga = definition.decode(step.fields)
        before = encode(saga)
        method, given = self._method(step, kind, cause)
        refusal: DomainError | None = None
        try:
            await attempt(method(saga, **given), seconds)
        except DomainError as refused:
            if refused.temporary:
                return Unknown(_shortened(describe(refused)), definition.changes(before, saga))
            refusal = refused
        except KeyReused as reused:
            # The fields that this attempt has set aren't those that the first attempt set.
            return Refused(reused.code, _not_repeatable(step.name, keys), "", certain=False, changes={})
        except AnswerNotKept as not_kept:
            changes = definition.changes(before, saga)
            if kind == "settle":
                return Settled(ran=True, changes=changes)
            return Refused(not_kept.code, _shortened(str(not_kept)), "", certain=False, changes=changes)
        except Exception as problem:
            if not isinstance(problem, CallFailed | TimeoutError):
                log.error(
                    "a step has raised an unexpected error",
                    step=f"{definition.name}.{step.name}",
                    exc_info=problem,
                )
            return Unknown(_shortened(describe(problem)), definition.changes(before, saga))
        changes = definition.changes(before, saga)
        if kind == "settle":
            return Settled(not keys.nothing_ran(refusal), changes)
        if refusal is None:
            return Done(changes)
        certain = keys.nothing_ran(refusal) and only_commands(definition, step.name)
        return Refused(refusal.code, _shortened(str(refusal)), keys.refused(refusal), certain, changes)

    def _method(self, step: StepState, kind: str, cause: Cause) -> tuple[Method, dict[str, Any]]:
        """The method to call, and its arguments."""
        described = self._definition.steps[step.name]
        if kind == "undo":
            assert described.undo_method is not None  # noqa: S101
            told = self._definition.cause_of[step.name]
            return described.undo_method, self._undo_given[step.name] | ({told: cause} if told else {})
        given = self._given[step.name]
        if step.name in self._definition.awaits:
            given = {**given, "event": self._awaited(step)}
        return described.method, given

    def _awaited(self, step: StepState) -> Recorded[Any]:
        name, recorded = decode(tuple[str, msgspec.Raw], step.event)
        (kind,) = (kind for kind in self._definition.awaits[step.name] if name in stored_names([kind]))
        of_kind: Any = Recorded[kind]  # type: ignore[valid-type]
        event: Recorded[Any] = decode(of_kind, bytes(recorded))
        return event

    def _seconds(self, step: StepState) -> float:
        """The time that this attempt may take: the rest of the step's time, limited by the bound of every attempt."""
        if step.deadline is None:
            return ATTEMPT_SECONDS
        left = (step.deadline - self._clock()).total_seconds()
        return max(0.001, min(left, ATTEMPT_SECONDS))


def _not_repeatable(step: str, keys: CommandKeys) -> str:
    return (
        f"{step} gave {keys.newest} with other arguments than when it was tried before, so that it isn't known "
        f"whether what it did then is what it would do now. A step must give the same commands each time it is tried: "
        f"make new ids and times before the step, and keep them in the saga's fields."
    )


def _shortened(text: str) -> str:
    return text[:MAX_ERROR_LENGTH]
