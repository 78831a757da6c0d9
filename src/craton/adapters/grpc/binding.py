"""Binds the fields of a message to the parameters of an operation, by name, and its result to those of another.

Between the two, values have the form that they have in JSON (https://protobuf.dev/programming-guides/json/), so that a
time is a Timestamp, and an id a string.
"""

from collections.abc import Iterator
from typing import Any, Final, get_args

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from craton.adapters.arguments import fields_of, fill, own_id, wire_name
from craton.adapters.grpc.statuses import Malformed
from craton.application.codec import convert, encode
from craton.application.context import Caller
from craton.application.page import Page, Paging
from craton.application.rpcs import Rpc
from craton.domain import Id

PAGING: Final = Paging.parameters


class Binding:
    """One procedure: its messages, and the operation that it calls."""

    def __init__(self, rpc: Rpc, method: MethodDescriptor) -> None:
        self.request: type[Message] = GetMessageClass(method.input_type)
        self.answer: type[Message] = GetMessageClass(method.output_type)
        self._rpc = rpc
        operation = rpc.operation
        self._paging = next((name for name, hint in operation.parameters.items() if hint is Paging), None)
        self._needed = {wire_name(name) for name in operation.parameters if name not in operation.defaults}
        given = [name for name in operation.parameters if name not in (rpc.caller, self._paging)]
        self._fields = fields_of(operation, f"{operation}_request", given, forbid_unknown_fields=True)

    def read(self, wire: bytes) -> Message:
        """The message with this wire form. Raises `Malformed`."""
        try:
            return self.request.FromString(wire)
        except DecodeError:
            raise Malformed("The request isn't a message of the procedure.") from None

    def arguments(self, message: Message, caller: Caller) -> dict[str, Any]:
        """The arguments. Raises `msgspec.ValidationError`, or `Unauthenticated`."""
        fields = json_format.MessageToDict(message, preserving_proto_field_name=True)
        for field in message.DESCRIPTOR.fields:
            # A field that can't tell its zero from being left out is its zero, unless the parameter may be left out.
            if not field.has_presence and not field.is_repeated and field.name in self._needed:
                fields.setdefault(field.name, field.default_value)
        arguments: dict[str, Any] = {}
        if self._rpc.caller is not None:
            arguments[self._rpc.caller] = own_id(self._rpc.operation, self._rpc.caller, caller)
        if self._paging is not None:
            page, size = (fields.pop(name, None) for name in PAGING)
            arguments[self._paging] = Paging.lenient(page and str(page), size and str(size))
        fill(arguments, convert(fields, self._fields, strict=False))
        return arguments

    def answered(self, result: Any) -> Message:
        """The message that holds a result."""
        if result is None:
            return self.answer()
        shown = {"id": result} if isinstance(result, Id) else result
        return json_format.Parse(encode(shown), self.answer())


def wrong_messages(rpc: Rpc, method: MethodDescriptor) -> Iterator[str]:
    """Yield a sentence for each way in which a procedure's messages don't fit the operation."""
    operation = rpc.operation
    if method.client_streaming or method.server_streaming:
        yield f"{rpc.name} is a stream; a procedure of the table has one request and one answer"
    if rpc.caller is not None and rpc.caller not in operation.parameters:
        yield f"caller={rpc.caller!r} names no parameter of {operation}"
    owner = rpc.access.owner
    if owner is not None and owner not in operation.parameters:
        yield f"own({owner!r}) names no parameter of {operation}"
    parameters: dict[str, bool] = {}
    for name, hint in operation.parameters.items():
        if hint is Paging:
            parameters |= dict.fromkeys(PAGING, False)
        elif name != rpc.caller:
            parameters[wire_name(name)] = name not in operation.defaults
    for field in method.input_type.fields:
        default = next((operation.defaults[name] for name in operation.defaults if wire_name(name) == field.name), None)
        if default is not None and not field.has_presence and field.default_value != default:
            yield f"{method.input_type.name}.{field.name} must be optional, because {operation} has another default"
    sent = _names(method.input_type)
    for name in sent - parameters.keys():
        yield f"{method.input_type.name}.{name} is no parameter of {operation}"
    for name, is_required in parameters.items():
        if is_required and name not in sent:
            yield f"{method.input_type.name} has no {name}, which {operation} needs"
    answered = _names(method.output_type)
    for name in sorted(_result_fields(operation.result) - answered):
        yield f"{method.output_type.name} has no {name}, which {operation} returns"


def _result_fields(result: Any) -> set[str]:
    if isinstance(result, type) and issubclass(result, Id):
        return {"id"}
    kind = Page if getattr(result, "__origin__", None) is Page and get_args(result) else result
    return set(getattr(kind, "__struct_encode_fields__", ()))


def _names(message: Descriptor) -> set[str]:
    return {field.name for field in message.fields}
