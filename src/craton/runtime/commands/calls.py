"""Calls: what everybody but the module itself holds of an Api.

A call is a message: it has a context of its own, derived from the caller's, and what it hands over is the receiver's
own. *Direct* copies what could still be changed; *copied* encodes and decodes arguments, results and refusals, as a
network would.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from craton.application.api import Api, OperationDefinition
from craton.application.codec import decode, encode
from craton.application.context import Context, context_var
from craton.domain import DomainError
from craton.runtime.commands.refusals import Refusal, as_data, as_error
from craton.runtime.commands.results import Answer

P = TypeVar("P", bound=Api)
Call = Callable[[OperationDefinition, dict[str, Any], Context], Awaitable[Answer]]


def proxy(api: Callable[..., P], call: Call) -> P:
    """Return an object with the methods of the Api, each of which calls."""

    def method(operation: OperationDefinition) -> Callable[..., Awaitable[Any]]:
        async def invoke(_self: Api, /, *arguments: Any, **named: Any) -> Any:
            parent = context_var.get()
            bound = operation.own(operation.bind(arguments, named))
            keys = parent.command_keys
            if keys is None or operation.kind == "query":
                answer = await call(operation, bound, child(parent))
            else:
                with keys.command(str(operation)) as key:
                    answer = await call(operation, bound, msgspec.structs.replace(child(parent), key=key))
            return operation.own_result(answer.result)

        invoke.__name__ = operation.name
        invoke.__qualname__ = str(operation)  # what Python calls it when it complains that nobody has awaited it
        return invoke

    contract: type[Api] = api  # type: ignore[assignment]  # it is abstract to type checkers
    methods = {name: method(operation) for name, operation in contract.operations.items()}
    made: P = type(f"{contract.__name__}Proxy", (contract,), methods)()
    return made


def child(parent: Context) -> Context:
    """The context of a call that is made from within another: same people and deadline, a link to what caused it."""
    if not parent.id:
        return Context()
    return Context(
        actor=parent.actor,
        tenant=parent.tenant,
        deadline=parent.deadline,
        correlation=parent.correlation or parent.id,
        causation=parent.id,
        positions=parent.positions,
    )


def copied(call: Call) -> Call:
    """Encode and decode all that passes."""

    async def copy(operation: OperationDefinition, arguments: dict[str, Any], context: Context) -> Answer:
        sent = decode(operation.arguments, encode(arguments))
        received = {name: getattr(sent, name) for name in operation.parameters}
        try:
            answer = await call(operation, received, context)
        except DomainError as refusal:
            raise as_error(decode(Refusal, encode(as_data(refusal)))) from None
        result = decode(operation.result, encode(answer.result))
        return msgspec.structs.replace(answer, result=result)

    return copy
