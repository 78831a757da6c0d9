"""The sagas of one module, in this process."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from craton.application.api import operation_of
from craton.application.codec import encode_text, fingerprint
from craton.application.context import Context
from craton.application.sagas.definition import SagaDefinition, Step
from craton.application.sagas.events import SagaId
from craton.application.sagas.index import SagaRow
from craton.application.view import View
from craton.domain import Recorded
from craton.runtime.background import Background
from craton.runtime.commands.use_cases import UseCases
from craton.runtime.sagas.control import SagaControl
from craton.runtime.sagas.runner import SUBSCRIPTION, SagaRunner
from craton.runtime.sagas.steps import Provide, StepRunner
from craton.runtime.sagas.stranded import stranded
from craton.runtime.subscriptions.lease import Lease
from craton.runtime.subscriptions.policies import React

_ARRIVE = operation_of(SagaControl.arrive)


class SagaHost:
    """Runs the sagas of one module. `use_cases`, those of a `SagaControl`, carry out commands about them."""

    def __init__(
        self,
        definitions: dict[str, SagaDefinition[Any]],
        rows: View[SagaRow],
        use_cases: UseCases,
        provide: Provide,
        background: Background,
    ) -> None:
        self.use_cases = use_cases
        self._definitions = definitions
        self._rows = rows
        self._provide = provide
        self._background = background

    @cached_property
    def runner(self) -> SagaRunner:
        """The runner, made at first use: looking at sagas needs none of the dependencies of their steps."""
        clock = self._background.clock
        steps = {name: StepRunner(found, self._provide, clock) for name, found in self._definitions.items()}
        version = fingerprint(sorted(found.fingerprint for found in self._definitions.values()))
        lease = Lease(self._background.store, f"{SUBSCRIPTION}/{version}", self._background.owner)
        return SagaRunner(self._definitions, steps, self.use_cases, self._rows, clock, lease)

    async def open(self) -> dict[tuple[str, str], int]:
        """The number of sagas that haven't ended, by kind and status."""
        counts = await self._rows.sum("open", by=("kind", "status"), open=1)
        return {(kind, status): count for (kind, status), count in counts.items()}

    async def stranded(self) -> int:
        """The number of sagas that haven't ended and that this program can't continue."""
        return sum((await stranded(self._definitions, self._rows)).values())

    @property
    def waiting(self) -> Iterator[tuple[SagaDefinition[Any], Step]]:
        """The steps of the module's sagas that wait for events."""
        for definition in self._definitions.values():
            for name in definition.awaits:
                yield definition, definition.steps[name]

    def deliver(self, definition: SagaDefinition[Any], step: Step) -> React:
        """Return the reaction to each event that a step may wait for."""

        async def deliver(event: Recorded[Any]) -> None:
            assert step.saga_of is not None  # noqa: S101
            saga = step.saga_of(event)
            if saga is not None:
                text = encode_text([type(event.data).__name__, event])
                arguments = {"saga": SagaId(str(saga)), "kind": definition.name, "step": step.name, "event": text}
                told = event.metadata
                context = Context(actor="saga", tenant=told.tenant, correlation=told.correlation, causation=event.id)
                await self.use_cases.run(_ARRIVE, arguments, context)

        return deliver
