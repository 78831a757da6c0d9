"""Calls: how all code outside a module uses its Api.

A call is a message: it has its own context, which is derived from the caller's, and the receiver shares no changeable
value with the caller. *Direct* calls copy such values; *copied* calls encode and decode arguments, results and
refusals, as a network would.
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
    """Return an object with the methods of the Api; each method calls `call`."""

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
        invoke.__qualname__ = str(operation)  # the name in Python's warning about a call that was never awaited
        return invoke

    contract: type[Api] = api  # type: ignore[assignment]  # it is abstract to type checkers
    methods = {name: method(operation) for name, operation in contract.operations.items()}
    made: P = type(f"{contract.__name__}Proxy", (contract,), methods)()
    return made


def child(parent: Context) -> Context:
    """The context of a call within another call: the same actor and deadline, and a link to what caused it."""
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
    """Encode and decode everything that passes through the call."""

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
