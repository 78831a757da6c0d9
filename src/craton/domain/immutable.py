"""Structs that never change. A subclass needs no options for it."""

from typing import Any, dataclass_transform

import msgspec


class ImmutableMeta(msgspec.StructMeta):
    """msgspec inherits `frozen` from a base, but not `kw_only`: a class would have to repeat it."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> "ImmutableMeta":
        return super().__new__(mcs, name, bases, namespace, **{"frozen": True, "kw_only": True, **options})


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Immutable(msgspec.Struct, metaclass=ImmutableMeta, frozen=True, kw_only=True):
    """Immutable fields, given by name, compared by content, encodable as they are annotated."""
