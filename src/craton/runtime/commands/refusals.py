"""Domain errors as data, so that a repeated, copied or remote call is refused with the very same error."""

from collections.abc import Iterator
from typing import Any

import msgspec

from craton.application.codec import convert, plain
from craton.domain import Conflict, DomainError


class Refusal(msgspec.Struct, frozen=True):
    """A domain error: the name of its class, its code and its fields."""

    error: str
    code: str
    details: dict[str, Any]


class RefusedBefore(Conflict):
    """It was refused before, for a reason that can't be told again: it is secret, or of a former version."""

    reason: str
    """The code of that refusal."""


def as_data(error: DomainError, *, details: bool = True) -> Refusal:
    return Refusal(_name(type(error)), error.code, plain(error.details) if details else {})


def as_error(refusal: Refusal) -> DomainError:
    """Return the error; a `RefusedBefore` when this program doesn't have its class, or such details, any more."""
    kind = _kind_of(refusal)
    if kind is not None:
        try:
            details = convert(refusal.details, kind.details_type())
            return kind(**{name: getattr(details, name) for name in kind.details_type().__struct_fields__})
        except Exception:
            return RefusedBefore(reason=refusal.code)
    return RefusedBefore(reason=refusal.code)


def _kind_of(refusal: Refusal) -> type[DomainError] | None:
    """The class that the error is of. One that was moved to another file of its package is found by its own name."""
    alike = [kind for kind in _subclasses(DomainError) if kind.__qualname__ == refusal.error.rpartition(":")[2]]
    for kind in alike:
        if _name(kind) == refusal.error:
            return kind
    package = refusal.error.rpartition(":")[0].rpartition(".")[0]
    moved = [kind for kind in alike if kind.code == refusal.code and kind.__module__.startswith(f"{package}.")]
    return moved[0] if package and len(moved) == 1 else None


def _name(kind: type[DomainError]) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _subclasses(kind: type[DomainError]) -> Iterator[type[DomainError]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
