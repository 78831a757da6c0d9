"""Of which types a type is made."""

from collections.abc import Iterator
from typing import Any

from msgspec import inspect


def parts_of(kind: Any) -> Iterator[inspect.Type]:
    """All that values of a type may hold, the type itself included; each struct once, for it may hold itself.

    Raises `TypeError` for what isn't a type that can be encoded.
    """
    found, seen = [inspect.type_info(kind)], set[int]()
    for info in found:
        if id(info) not in seen:
            seen.add(id(info))
            found.extend(_directly_in(info))
            yield info


def _directly_in(info: inspect.Type) -> Iterator[inspect.Type]:
    for name in info.__struct_fields__:
        value = getattr(info, name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, inspect.Field):
                yield part.type
            elif isinstance(part, inspect.Type):
                yield part
