"""The types that a type is made of."""

from collections.abc import Iterator
from typing import Any

from msgspec import inspect


def parts_of(kind: Any) -> Iterator[inspect.Type]:
    """All types that a type is made of, itself included. Raises `TypeError` if it can't be encoded."""
    return parts_in(inspect.type_info(kind))


def parts_in(info: inspect.Type) -> Iterator[inspect.Type]:
    """The same for a type that msgspec has inspected. Each struct comes only once, because it may contain itself."""
    found, seen = [info], set[int]()
    for part in found:
        if id(part) not in seen:
            seen.add(id(part))
            found.extend(_directly_in(part))
            yield part


def _directly_in(info: inspect.Type) -> Iterator[inspect.Type]:
    for name in info.__struct_fields__:
        value = getattr(info, name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, inspect.Field):
                yield part.type
            elif isinstance(part, inspect.Type):
                yield part
