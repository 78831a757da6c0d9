"""How a use case starts a saga."""

from typing import Any, Generic, TypeVar

from craton.application.repository import Repository
from craton.application.sagas.definition import Saga, SagaDefinition
from craton.application.sagas.events import SagaId
from craton.application.sagas.rules import SagaProcess
from craton.application.unit_of_work import require_unit

S = TypeVar("S", bound=Saga)


class Sagas(Generic[S]):
    """Starts the sagas of one kind from the use cases of their module. Made by the runtime."""

    def __init__(self, definition: SagaDefinition[S], processes: Repository[SagaProcess]) -> None:
        self._definition = definition
        self._processes = processes

    def start(self, saga: S, *, id: Any) -> SagaId:
        """Start a saga when the current unit of work is committed.

        `id`, a UUID, names the saga: for example the id of the order that it is about. The commit refuses a second saga
        with the same id (`AlreadyExists`).
        """
        unit = require_unit(f"Sagas[{self._definition.name}].start")
        context = unit.context
        process = SagaProcess.start(
            SagaId(str(id)),
            self._definition,
            self._definition.encode(saga),
            unit.now(),
            actor=context.actor,
            tenant=context.tenant,
            correlation=context.correlation or context.id,
        )
        self._processes.add(process)
        return process.id
