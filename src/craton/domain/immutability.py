"""Finds out which values never change, so that they can be shared; all others are copied."""

import datetime
import decimal
import types
import uuid
from enum import Enum
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec
from msgspec.structs import fields

from craton.domain.money import Money
from craton.domain.secret import Secret

_NEVER_CHANGE: Final = (
    str,
    int,
    float,
    bytes,
    type(None),
    datetime.date,
    datetime.time,
    datetime.timedelta,
    datetime.tzinfo,
    decimal.Decimal,
    uuid.UUID,
    Enum,
    Money,
    Secret,
)
UNCHANGED: Final = "unchanged"
"""Marks a container that nobody changes, though its type would allow it: `Annotated[dict[str, Any], UNCHANGED]`."""
_OF_THEIR_PARTS: Final = (tuple, frozenset, Union, types.UnionType)


def is_immutable(hint: Any) -> bool:
    """Whether values of a type never change, with all that they contain. Unknown types count as changeable."""
    return _is_immutable(hint, frozenset())


def _is_immutable(hint: Any, within: frozenset[Any]) -> bool:
    origin = get_origin(hint)
    if origin is Literal:
        return True
    if origin is Annotated:
        kind, *said = get_args(hint)
        return UNCHANGED in said or _is_immutable(kind, within)
    if origin in _OF_THEIR_PARTS:
        return all(_is_immutable(part, within) for part in get_args(hint) if part is not ...)
    kind = origin or getattr(hint, "__supertype__", hint)  # a generic struct, a NewType
    if not isinstance(kind, type):
        return hint is None
    if issubclass(kind, msgspec.Struct):
        return hint in within or (
            kind.__struct_config__.frozen and all(_is_immutable(field.type, within | {hint}) for field in fields(hint))
        )
    return kind is hint and issubclass(kind, _NEVER_CHANGE)
