"""Runs calls of `Operations` as those of any other Api: with a deadline, a key, and errors in the callers' terms."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from craton.application.api import OperationDefinition, operation_of
from craton.application.codec import encode_text
from craton.application.context import Context, context_var
from craton.application.errors import Unavailable
from craton.domain import DomainError
from craton.ports import KeyTaken, StatementFailed, StoreUnavailable
from craton.ports.wellformed import storable
from craton.runtime.commands.results import Answer, Request, Results
from craton.runtime.commands.use_cases import require_usable_key
from craton.runtime.compatibility.readers import Reader
from craton.runtime.module import RunningModule
from craton.runtime.operations.api import Operations
from craton.runtime.operations.journal import Journal
from craton.runtime.operations.refusals import UnstorableText
from craton.runtime.operations.service import OperationsService
from craton.runtime.process.attempt import in_time

Modules = Mapping[str, RunningModule]

_SAGA_VERBS: Final = (
    operation_of(Operations.retry_saga),
    operation_of(Operations.skip_saga_step),
    operation_of(Operations.compensate_saga),
    operation_of(Operations.resolve_saga),
)
"""The answers to these operations are kept by the modules of the sagas, as those of any other command."""


async def call_operations(
    modules: Modules,
    readers: Sequence[Reader],
    operation: OperationDefinition,
    arguments: dict[str, Any],
    context: Context,
) -> Answer:
    """Run one operation of `Operations`. A repeated request with the same key gets the first answer again."""
    seconds = context.remaining()
    token = context_var.set(context)
    try:
        work = _run(modules, readers, operation, arguments, context)
        return await (work if seconds is None else in_time(seconds, work, executed=operation.kind == "command"))
    except StoreUnavailable as problem:
        raise Unavailable(str(problem), maybe_executed=problem.maybe_executed) from problem
    finally:
        context_var.reset(token)


async def _run(
    modules: Modules,
    readers: Sequence[Reader],
    operation: OperationDefinition,
    arguments: dict[str, Any],
    context: Context,
) -> Answer:
    request = None
    if operation.kind == "command" and context.key is not None and operation not in _SAGA_VERBS:
        require_usable_key(context.key.text)
        scope = encode_text([context.tenant, context.actor, str(operation)])
        clock = next(iter(modules.values())).background.clock
        request = Request(scope, context.key.text, operation.fingerprint(arguments), clock())
    replay = await _replay(modules, operation, request)
    if replay is not None:
        return replay
    journal = Journal(modules, operation, request)
    service = OperationsService(modules, readers, journal)
    try:
        result = await getattr(service, operation.name)(**arguments)
    except (KeyTaken, DomainError):  # another call under this key may have been faster, and left nothing to be done
        replay = await _replay(modules, operation, request)
        if replay is None:
            raise
        return replay
    except StatementFailed:
        for name, value in arguments.items():
            if isinstance(value, str) and not storable(value):
                raise UnstorableText(argument=name) from None
        raise
    return msgspec.structs.replace(journal.written, result=result)


async def _replay(modules: Modules, operation: OperationDefinition, request: Request | None) -> Answer | None:
    """The answer that was given under this key before, in any of the modules."""
    if request is not None:
        for name, running in modules.items():
            answer = await Results(name, running.store).look_up(operation, request)
            if answer is not None:
                return answer
    return None
