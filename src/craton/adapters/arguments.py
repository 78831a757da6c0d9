"""Fills an operation's parameters from what a caller has sent, by name."""

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from craton.application.api import OperationDefinition
from craton.application.codec import convert
from craton.application.context import Caller
from craton.domain import Unauthenticated


def fields_of(operation: OperationDefinition, name: str, names: Iterable[str], **options: Any) -> type[msgspec.Struct]:
    """A struct called `name`, with some of an operation's parameters under their names on the wire."""
    fields = [operation.field(parameter) for parameter in names]
    return msgspec.defstruct(name, fields, kw_only=True, rename=wire_name, **options)


def wire_name(name: str) -> str:
    """The name on the wire: `from_` is `from` outside of Python."""
    return name.rstrip("_")


def own_id(operation: OperationDefinition, parameter: str, caller: Caller) -> Any:
    """The caller's own id, as the type of a parameter. Raises `Unauthenticated` for a stranger."""
    if caller.is_stranger:
        raise Unauthenticated()
    return convert(str(caller.id), operation.parameters[parameter])


def fill(arguments: dict[str, Any], struct: msgspec.Struct) -> None:
    """Take over what was sent, times in UTC. Raises `msgspec.ValidationError` for a number that isn't finite."""
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if isinstance(value, float) and not math.isfinite(value):
            raise msgspec.ValidationError(f"Expected a finite number - at `$.{wire_name(name)}`")
        if isinstance(value, datetime):
            try:
                value = value.astimezone(UTC)
            except OverflowError:
                raise msgspec.ValidationError(f"The time is beyond the calendar - at `$.{wire_name(name)}`") from None
        arguments[name] = value
