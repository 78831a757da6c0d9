"""The sagas of one module, in this process."""

from collections.abc import Callable, Coroutine, Iterator
from datetime import datetime
from typing import Any

import structlog

from craton.application.api import operation_of
from craton.application.codec import encode_text
from craton.application.context import Context
from craton.application.repository import Repository
from craton.application.sagas.definition import Definition, Step
from craton.application.sagas.index import SagaRow
from craton.application.sagas.process import SagaProcess
from craton.application.sagas.state import SagaId
from craton.application.view import View
from craton.domain import Event, Recorded
from craton.runtime.sagas.control import SagaControl, SagaControlService
from craton.runtime.sagas.runner import SagaRunner
from craton.runtime.sagas.steps import Provide, StepRunner
from craton.runtime.use_cases import UseCases

_ARRIVE = operation_of(SagaControl.arrive)

log = structlog.get_logger("craton.sagas")


class SagaHost:
    """Runs the sagas of one module, and takes orders about them through `use_cases`, as a `SagaControl`."""

    def __init__(
        self,
        module: str,
        definitions: dict[str, Definition[Any]],
        processes: Repository[SagaProcess],
        rows: View[SagaRow],
        make_use_cases: Callable[[SagaControl], UseCases],
        provide: Provide,
        clock: Callable[[], datetime],
    ) -> None:
        self._module = module
        self._definitions = definitions
        self._rows = rows
        self.use_cases = make_use_cases(SagaControlService(processes, rows, definitions))
        steps = {name: StepRunner(definition, provide, clock) for name, definition in definitions.items()}
        self.runner = SagaRunner(steps, self.use_cases, rows, clock)

    @property
    def waiting(self) -> Iterator[tuple[Definition[Any], Step]]:
        """The steps that wait for events."""
        for definition in self._definitions.values():
            for name in definition.awaits:
                yield definition, definition.steps[name]

    def deliver(self, step: Step) -> Callable[[Recorded[Event]], Coroutine[Any, Any, None]]:
        """What is to be done with each event that a step may wait for."""

        async def deliver(event: Recorded[Event]) -> None:
            assert step.saga_of is not None  # noqa: S101
            saga = step.saga_of(event)
            if saga is not None:
                text = encode_text([type(event.data).__name__, event])
                arguments = {"saga": SagaId(str(saga)), "step": step.name, "event": text}
                await self.use_cases.run(_ARRIVE, arguments, Context(actor="saga", causation=event.id))

        return deliver

    async def warn_of_stranded(self) -> None:
        """Say which sagas have not ended and this program can't go on with."""
        for (kind, fingerprint), count in (await self._rows.sum("open", by=("kind", "fingerprint"))).items():
            known = self._definitions.get(kind)
            if count and (known is None or known.fingerprint != fingerprint):
                log.error(
                    f"{count} sagas {kind} were started with another definition and wait for a program that has it",
                    module=self._module,
                )
