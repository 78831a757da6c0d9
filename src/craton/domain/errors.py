"""Refusals by the domain. Each is a type with fields, a stable code and a sentence."""

import inspect
import re
from typing import Any, ClassVar, dataclass_transform

import msgspec


@dataclass_transform(kw_only_default=True)
class DomainError(Exception):
    """A rule of the domain refuses something. Nothing was changed, unless the refusal `keeps_changes`.

    Annotated fields are its details and are sent with it: `class InsufficientFunds(Conflict): available: Money`.
    `code` is the class's name in kebab case unless given. `str(error)` is a sentence for the caller: override `__str__`
    for it, or the first line of the docstring is used.
    """

    code: ClassVar[str] = "refused"
    keeps_changes: ClassVar[bool] = False
    """Whether changes that the use case made before it raised this are committed: then the refusal itself is a fact."""
    temporary: ClassVar[bool] = False
    """Whether the same request may be accepted later. Then the refusal is never the lasting answer to an idempotency
    key, and policies, sagas and timers try again."""
    _details: ClassVar[type[msgspec.Struct]] = msgspec.defstruct("DomainErrorDetails", ())

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "code" not in cls.__dict__:
            cls.code = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()
        fields = [
            (name, hint, cls.__dict__[name]) if name in cls.__dict__ else (name, hint)
            for name, hint in _own_annotations(cls)
            if hint is not ClassVar
        ]
        cls._details = msgspec.defstruct(
            f"{cls.__name__}Details", fields, bases=(cls._details,), kw_only=True, module=cls.__module__
        )

    def __init__(self, **details: Any) -> None:
        complete = self._details(**details)  # raises TypeError for a missing or unknown detail
        self.__dict__.update({name: getattr(complete, name) for name in complete.__struct_fields__})
        super().__init__()

    @property
    def details(self) -> msgspec.Struct:
        """The annotated fields, ready to be encoded."""
        return self._details(**{name: self.__dict__[name] for name in self._details.__struct_fields__})

    @classmethod
    def details_type(cls) -> type[msgspec.Struct]:
        """The struct of the annotated fields, which decodes them."""
        return cls._details

    def __str__(self) -> str:
        return (type(self).__doc__ or type(self).__name__).strip().splitlines()[0]

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.details == getattr(other, "details", None)

    __hash__ = Exception.__hash__


def _own_annotations(cls: type) -> list[tuple[str, Any]]:
    return [
        (name, ClassVar if str(hint).startswith(("ClassVar", "typing.ClassVar")) else hint)
        for name, hint in inspect.get_annotations(cls).items()
    ]


class NotFound(DomainError):
    """There is no such thing."""


class AggregateNotFound(NotFound):
    """There is no aggregate with this id."""

    id: str

    def __str__(self) -> str:
        return f"There is no {self.code.removesuffix('-not-found')} {self.id}."


class Conflict(DomainError):
    """The state doesn't allow it."""


class InvalidValue(DomainError):
    """A value breaks a rule."""


class Unauthenticated(DomainError):
    """This needs a valid access token: Authorization: Bearer …"""

    temporary = True


class AccessDenied(DomainError):
    """The caller may not do this."""

    temporary = True


class TooManyAttempts(DomainError):
    """It was tried too often; try again later."""

    temporary = True
    retry_after: int
    """The number of seconds after which the caller may try again."""
