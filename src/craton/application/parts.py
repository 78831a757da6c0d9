"""Of which types a type is made."""

from collections.abc import Iterator
from typing import Any

from msgspec import inspect


def parts_of(kind: Any) -> Iterator[inspect.Type]:
    """All types of which a type is made, itself included. Raises `TypeError` for what isn't one that can be encoded."""
    return parts_in(inspect.type_info(kind))


def parts_in(info: inspect.Type) -> Iterator[inspect.Type]:
    """The same for a type that was looked into; each struct comes once, for it may hold itself."""
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
