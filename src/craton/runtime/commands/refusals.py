"""Domain errors as data, so that a repeated, copied or remote call raises the same error again."""

from collections.abc import Iterator
from typing import Any

import msgspec

from craton.application.codec import convert, plain
from craton.domain import Conflict, DomainError, InvalidValue, NotFound


class Refusal(msgspec.Struct, frozen=True):
    """A domain error: its class's name, its code and its fields."""

    error: str
    code: str
    details: dict[str, Any]


class RefusedBefore(Conflict):
    """The request was refused before. The reason can't be repeated, because it is secret or of an older version."""

    reason: str
    """The code of that refusal."""


class UnknownRefusal(Conflict):
    """Another version of the program has refused it, for a reason that this one doesn't know."""

    reason: str
    """The code of that refusal."""
    text: str

    def __str__(self) -> str:
        return self.text


class UnknownNotFound(NotFound):
    """The same, for something that isn't there."""

    reason: str
    text: str

    __str__ = UnknownRefusal.__str__


class UnknownInvalidValue(InvalidValue):
    """The same, for a value that breaks a rule."""

    reason: str
    text: str

    __str__ = UnknownRefusal.__str__


def unknown(refusal: Refusal, text: str, family: str, *, temporary: bool) -> DomainError:
    """The refusal of another version, of which only the code, the text and the family are known."""
    kind = {"NotFound": UnknownNotFound, "InvalidValue": UnknownInvalidValue}.get(family, UnknownRefusal)
    error: DomainError = kind(reason=refusal.code, text=text)
    if temporary:
        error.__dict__["temporary"] = True
    return error


def family(error: DomainError) -> str:
    """The name of the general kind of a refusal that decides how it is answered."""
    return next((kind.__name__ for kind in (NotFound, InvalidValue) if isinstance(error, kind)), "Conflict")


def is_known(refusal: Refusal) -> bool:
    """Whether this program has the class of a refusal."""
    return _class_of(refusal) is not None


def as_data(error: DomainError, *, details: bool = True) -> Refusal:
    return Refusal(_name(type(error)), error.code, plain(error.details) if details else {})


def as_error(refusal: Refusal) -> DomainError:
    """Return the error; a `RefusedBefore` if this program no longer has its class, or if its details don't fit."""
    kind = _class_of(refusal)
    if kind is None:
        return RefusedBefore(reason=refusal.code)
    try:
        details = convert(refusal.details, kind.details_type())
        return kind(**{name: getattr(details, name) for name in kind.details_type().__struct_fields__})
    except Exception:
        return RefusedBefore(reason=refusal.code)


def _class_of(refusal: Refusal) -> type[DomainError] | None:
    """The error's class, or the one of its name and code that lies in another file of the same package today."""
    moved = None
    package, name = _package_and_name(refusal.error)
    for kind in _subclasses(DomainError):
        if _name(kind) == refusal.error:
            return kind
        if kind.code == refusal.code and _package_and_name(_name(kind)) == (package, name):
            moved = kind
    return moved


def _name(kind: type[DomainError]) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _package_and_name(error: str) -> tuple[str, str]:
    module, _, name = error.partition(":")
    return module.rpartition(".")[0], name


def _subclasses(kind: type[DomainError]) -> Iterator[type[DomainError]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
