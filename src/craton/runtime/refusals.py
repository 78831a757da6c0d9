"""Domain errors as data, so that a repeated, copied or remote call is refused with the very same error."""

from collections.abc import Iterator
from typing import Any

import msgspec

from craton.application.codec import convert, encode_scalar
from craton.domain import DomainError


class Refusal(msgspec.Struct, frozen=True):
    """A domain error: the name of its class, its code and its fields."""

    error: str
    code: str
    details: dict[str, Any]


def as_data(error: DomainError) -> Refusal:
    details = msgspec.to_builtins(error.details, enc_hook=encode_scalar)
    return Refusal(_name(type(error)), error.code, details)


def as_error(refusal: Refusal) -> DomainError:
    """Return the error. Raises `LookupError` when this program doesn't have its class any more."""
    for kind in _subclasses(DomainError):
        if _name(kind) == refusal.error:
            details = convert(refusal.details, kind.details_type())
            return kind(**{name: getattr(details, name) for name in kind.details_type().__struct_fields__})
    raise LookupError(f"the error {refusal.error} isn't known any more")


def _name(kind: type[DomainError]) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _subclasses(kind: type[DomainError]) -> Iterator[type[DomainError]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
