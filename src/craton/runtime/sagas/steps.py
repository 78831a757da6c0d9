"""Runs one action of a saga: a step, its compensation, or finding out what came of a step."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec

from craton.application.codec import decode
from craton.application.context import Context, Effect, context_var
from craton.application.sagas.definition import Definition, Method
from craton.application.sagas.process import Action, Done, Outcome, Refused, Settled, Unknown
from craton.application.sagas.state import SagaState, StepState
from craton.domain import DomainError, Recorded
from craton.runtime.projecting import describe

ATTEMPT_SECONDS: Final = 30.0
MAX_ERROR_LENGTH: Final = 500

Provide = Callable[[dict[str, Any]], dict[str, Any]]


class StepRunner:
    """Runs the steps of one kind of saga. `provide` makes what a method asks for."""

    def __init__(self, definition: Definition[Any], provide: Provide, clock: Callable[[], datetime]) -> None:
        self._definition = definition
        self._clock = clock
        self._given = {name: provide(asks) for name, asks in definition.asks.items()}
        self._undo_given = {name: provide(asks) for name, asks in definition.undo_asks.items()}

    async def run(self, id: str, state: SagaState, action: Action) -> Outcome:
        """Run an action; never raises but when it is cancelled."""
        step = state.step(action.step)
        described = self._definition.steps[action.step]
        key = f"{id}/{action.step}"
        if action.kind == "undo":
            assert described.undo_method is not None  # noqa: S101
            effect = Effect(f"{key}/undo", step.undo_refused_calls, first=not step.undo_attempts)
            return await self._attempt(state, step, described.undo_method, self._undo_given[step.name], effect)
        effect = Effect(key, step.refused_calls, settles=action.kind == "settle", first=not step.attempts)
        given = self._given[step.name]
        if step.name in self._definition.awaits:
            given = {**given, "event": self._awaited(step)}
        return await self._attempt(state, step, described.method, given, effect)

    def _awaited(self, step: StepState) -> Recorded[Any]:
        name, recorded = decode(tuple[str, msgspec.Raw], step.event)
        (kind,) = (kind for kind in self._definition.awaits[step.name] if kind.__name__ == name)
        of_kind: Any = Recorded[kind]  # type: ignore[valid-type]
        event: Recorded[Any] = decode(of_kind, bytes(recorded))
        return event

    async def _attempt(
        self, state: SagaState, step: StepState, method: Method, given: dict[str, Any], effect: Effect
    ) -> Outcome:
        saga = self._definition.decode(step.fields)
        before = self._definition.fields(saga)
        seconds = self._seconds(step, effect)
        context = Context(
            id=effect.name,
            actor=state.actor,
            tenant=state.tenant,
            correlation=state.correlation,
            deadline=time.monotonic() + seconds,
            effect=effect,
        )
        token = context_var.set(context)
        refused: DomainError | None = None
        try:
            try:
                async with asyncio.timeout(seconds):
                    await method(saga, **given)
            except DomainError as refusal:
                refused = refusal
            changes = self._definition.changes(before, saga)
        except Exception as problem:
            return Unknown(describe(problem)[:MAX_ERROR_LENGTH])
        finally:
            context_var.reset(token)
        if effect.settles:
            return Settled(effect.done > 0, changes)
        if refused is not None:
            return Refused(refused.code, str(refused)[:MAX_ERROR_LENGTH], effect.done + 1, changes)
        return Done(changes)

    def _seconds(self, step: StepState, effect: Effect) -> float:
        """How long this attempt may take: what is left of the step's time, within what any attempt may take."""
        if step.deadline is None or effect.settles or step.ended_at is not None:
            return ATTEMPT_SECONDS
        left = (step.deadline - self._clock()).total_seconds()
        return max(0.001, min(left, ATTEMPT_SECONDS))
