"""Writes an operator's change of a module, and the record of it, in one commit."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from craton.application.api import OperationDefinition
from craton.application.codec import encode_text
from craton.application.context import context
from craton.application.operators import OPERATOR_STREAM, OperatorActed
from craton.application.upcasting import EventTypes
from craton.domain import Metadata, Text, uuid7
from craton.ports import Append, Changeset, NewEvent, VersionConflict
from craton.runtime.commands.results import Answer, Request, kept_result
from craton.runtime.module import RunningModule

T = TypeVar("T")
Noted = Callable[[Any], Changeset]
"""Takes the answer; returns a changeset that records the action and keeps the answer under its key."""


class Journal:
    """The journal of one call of an operator's verb; `request` is the call's key and fingerprint, if it has a key."""

    def __init__(
        self, modules: Mapping[str, RunningModule], operation: OperationDefinition, request: Request | None
    ) -> None:
        self._modules = modules
        self._operation = operation
        self._request = request
        self.written = Answer(None)
        """Tells where the action is recorded; this isn't the verb's result."""

    async def write(self, module: str, subject: str, reason: Text, unit: Changeset, answer: Any = None) -> None:
        """Write a changeset and the record of the action. Raises `ChangesetRefused` if it can't be written."""

        async def commit(noted: Noted) -> tuple[None, int]:
            note = noted(answer)
            unit.appends, unit.result = note.appends, note.result
            return None, await self._modules[module].background.commit(unit)

        await self.record(module, subject, reason, commit)
        self._modules[module].background.signal.fire()

    async def record(
        self, module: str, subject: str, reason: Text, work: Callable[[Noted], Awaitable[tuple[T, int]]]
    ) -> T:
        """Run `work`, which writes what `noted` makes; run it again if another operator's action was recorded first.

        The work returns its result, and the position of the last event that it has written.
        """
        background = self._modules[module].background
        fact = OperatorActed(verb=self._operation.name, subject=subject, reason=reason)
        while True:
            newest = await background.store.read_stream(OPERATOR_STREAM, limit=1, descending=True)
            version = newest[0].version if newest else 0
            event = NewEvent(
                OPERATOR_STREAM,
                version + 1,
                uuid7(),
                type(fact).__name__,
                fact.schema_version,
                EventTypes.encode(fact),
                _metadata(),
                max([background.clock(), *(event.time for event in newest)]),
            )
            appends = [Append(OPERATOR_STREAM, version, [event])]

            def noted(answer: Any, appends: list[Append] = appends) -> Changeset:
                return Changeset(appends=appends, result=kept_result(self._operation, self._request, answer))

            try:
                result, position = await work(noted)
            except VersionConflict as conflict:
                if conflict.stream != OPERATOR_STREAM:
                    raise
            else:
                self.written = Answer(None, position, module=module)
                return result


def _metadata() -> str:
    call = context()
    key = None if call.key is None else call.key.text
    metadata = Metadata(
        actor=call.actor, tenant=call.tenant, correlation=call.correlation or call.id, causation=call.id, key=key
    )
    return encode_text(metadata)
