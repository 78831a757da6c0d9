"""What a module offers to others: a class whose methods are its commands and queries."""

import copy
import inspect
from collections.abc import Callable, Iterator
from functools import cache, cached_property
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, get_args, get_type_hints

import msgspec

from craton.application.codec import canonical, encode_answer, fingerprint, holds_secrets, is_same, unencodable
from craton.application.errors import WiringError
from craton.application.rows import holds_hidden_fields, without_hidden_fields
from craton.domain import Scalar
from craton.domain.immutability import is_immutable

__all__ = ["FINGERPRINT_FORM", "INCIDENTAL", "Api", "OperationDefinition", "command", "operation_of", "query"]

F = TypeVar("F", bound=Callable[..., Any])
Kind = Literal["command", "query"]
INCIDENTAL: Final = msgspec.Meta(extra={"incidental": True})
"""Marks a parameter that may differ between a request and its repetition, such as the time a message was signed.

`at: Annotated[Instant, INCIDENTAL]` isn't part of a request's fingerprint.
"""
FINGERPRINT_FORM = "2:"
"""The prefix of a fingerprint. Fingerprints of older versions of the toolkit have none and can't be compared."""


if TYPE_CHECKING:
    # To a type checker the methods of an Api are abstract: bodies are docstrings, and a service must have all of them.
    from abc import abstractmethod as command
    from abc import abstractmethod as query
else:

    def command(method: F) -> F:
        """Mark a method of an `Api` that changes state. It runs in a unit of work."""
        method.__dict__["craton_kind"] = "command"
        return method

    def query(method: F) -> F:
        """Mark a method of an `Api` that changes nothing."""
        method.__dict__["craton_kind"] = "query"
        return method


class OperationDefinition:
    """One command or query: its parameters as a struct, its result as a type."""

    def __init__(self, api: type["Api"], method: Callable[..., Any], kind: Kind) -> None:
        self.api = api
        self.name = method.__name__
        self.kind = kind
        self.doc = inspect.getdoc(method) or ""
        if not inspect.iscoroutinefunction(method):
            raise WiringError(f"{self}: must be an async method")
        try:
            hints = get_type_hints(method, include_extras=True)
        except NameError as problem:
            raise WiringError(f"{self}: an annotation can't be read: {problem}") from None
        signature = list(inspect.signature(method).parameters.values())[1:]
        for parameter in signature:
            if parameter.name not in hints:
                raise WiringError(f"{self}: parameter {parameter.name!r} has no annotation")
            if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                raise WiringError(f"{self}: *{parameter.name} can't be sent; name each parameter")
        if "return" not in hints:
            raise WiringError(f"{self}: the result has no annotation")
        self.parameters = {parameter.name: hints[parameter.name] for parameter in signature}
        self.defaults = {p.name: p.default for p in signature if p.default is not p.empty}
        self._changeable = {n: default for n, default in self.defaults.items() if _can_change(default, hints[n])}
        self.result: Any = hints["return"]
        self.arguments = msgspec.defstruct(
            f"{api.__name__}_{self.name}",
            [self.field(name) for name in self.parameters],
            kw_only=True,
            forbid_unknown_fields=True,
        )
        self._positional = [p.name for p in signature if p.kind is not p.KEYWORD_ONLY]
        self._names = tuple(self.parameters)
        self._incidental = {n for n, hint in hints.items() if INCIDENTAL in getattr(hint, "__metadata__", ())}
        self._returned = f"the result of {self}"
        self._is_shown_in_part = unencodable(self.result) is None and holds_hidden_fields(self.result)

    def __str__(self) -> str:
        return f"{self.api.__name__}.{self.name}"

    def bind(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
        """Return all arguments by name. Raises `TypeError` as the call itself would."""
        if len(arguments) > len(self._positional):
            raise TypeError(f"{self} takes {len(self._positional)} positional arguments, not {len(arguments)}")
        given = dict(zip(self._positional, arguments, strict=False))
        for name, value in named.items():
            if name in given or name not in self.parameters:
                raise TypeError(f"{self} got an unexpected or repeated argument {name!r}")
            given[name] = value
        if len(given) == len(self.parameters):
            return given
        missing = self.parameters.keys() - given.keys() - self.defaults.keys()
        if missing:
            raise TypeError(f"{self} misses {', '.join(sorted(missing))}")
        own = {name: copy.deepcopy(default) for name, default in self._changeable.items() if name not in given}
        return self.defaults | own | given

    def differences(self, method: Callable[..., Any]) -> Iterator[str]:
        """Yield a sentence for each way in which a service's method differs from the Api's method."""
        if not inspect.iscoroutinefunction(method):
            yield f"{method.__qualname__} must be an async method"
        contract = getattr(self.api, self.name)
        said = list(inspect.signature(contract).parameters.values())[1:]
        has = list(inspect.signature(method).parameters.values())[1:]
        if [(p.name, p.kind, p.default) for p in said] != [(p.name, p.kind, p.default) for p in has]:
            yield f"{method.__qualname__} takes ({_shown(has)}), and {self} says ({_shown(said)})"
        expected_hints = get_type_hints(contract)
        for name, hint in get_type_hints(method).items():
            expected = expected_hints.get(name, hint)
            if hint != expected:
                what = "returns" if name == "return" else f"takes {name!r} as"
                yield f"{method.__qualname__} {what} {_named(hint)}, and {self} says {_named(expected)}"

    def field(self, name: str) -> tuple[Any, ...]:
        """A parameter as a field of a struct. A default that could be changed is copied for each struct."""
        if name not in self.defaults:
            return name, self.parameters[name]
        default: Any = self.defaults[name]
        if name in self._changeable:
            default = msgspec.field(default_factory=lambda: copy.deepcopy(self.defaults[name]))
        elif isinstance(default, Scalar):  # a schema can't show its default
            default = msgspec.field(default_factory=lambda: self.defaults[name])
        return name, self.parameters[name], default

    def own(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments, copied so that they share nothing with the caller that can change."""
        mutable = self._mutable_parameters
        if not mutable:
            return arguments
        return {name: copy.deepcopy(value) if name in mutable else value for name, value in arguments.items()}

    def shown(self, result: Any) -> Any:
        """The result as callers receive it: without the hidden fields of rows."""
        return without_hidden_fields(result) if self._is_shown_in_part else result

    def own_result(self, result: Any) -> Any:
        """The result, copied so that it shares nothing with the module that can change."""
        return copy.deepcopy(result) if self._result_is_mutable else result

    def encode_result(self, result: Any) -> bytes:
        """The result as it is stored and sent. Raises `NotStorable`."""
        if result is None and self.result is NoneType:
            return b"null"
        return encode_answer(result, self.result, self._returned)

    @cached_property
    def answers_secrets(self) -> bool:
        """Whether the result may hold secrets, so that it is never stored."""
        return holds_secrets(self.result)

    @cached_property
    def _mutable_parameters(self) -> frozenset[str]:
        return frozenset(name for name, hint in self.parameters.items() if not is_immutable(hint))

    @cached_property
    def _result_is_mutable(self) -> bool:
        return not is_immutable(self.result)

    def fingerprint(self, arguments: dict[str, Any]) -> str:
        """Return a digest that is the same for a request and its repetition.

        Arguments at their defaults aren't part of it, so a request is still recognised after a new version of the
        program has added a parameter. Secrets aren't part of it either, so the digest can't reveal them; nor are
        `INCIDENTAL` ones.
        """
        defaults = self.defaults
        given = {
            name: canonical(value)
            for name, value in arguments.items()
            if (name not in defaults or not is_same(value, defaults[name])) and name not in self._incidental
        }
        return FINGERPRINT_FORM + fingerprint(sorted(given.items()))

    def problems(self) -> list[str]:
        """Return a sentence for each parameter or result that can't cross a process boundary."""
        types = {f"parameter {name!r}": hint for name, hint in self.parameters.items()}
        types["the result"] = self.result
        return [f"{self}: {what} can't be encoded: {why}" for what, kind in types.items() if (why := unencodable(kind))]


class _Operations:
    """The operations of an Api, by name. They are read at first use, because the types in their signatures may be
    defined further down in the file than the Api."""

    def __get__(self, instance: object, owner: type["Api"]) -> dict[str, OperationDefinition]:
        return _operations_of(next(part for part in owner.__mro__ if Api in part.__bases__))


@cache
def _operations_of(api: type["Api"]) -> dict[str, OperationDefinition]:
    return {
        name: OperationDefinition(api, method, method.craton_kind)
        for name, method in vars(api).items()
        if hasattr(method, "craton_kind")
    }


class Api:
    """A module's contract. Subclass it, and mark each method as `@command` or `@query`; its body is its docstring.

    The module's service subclasses the contract in turn; all other code is given a proxy with the same methods.
    """

    operations = _Operations()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if Api not in cls.__bases__:
            return
        for name, method in vars(cls).items():
            if hasattr(method, "craton_kind"):
                method.__dict__["craton_api"] = cls
            elif inspect.isfunction(method) and not name.startswith("_"):
                raise WiringError(f"{cls.__name__}.{name} is neither a @command nor a @query; mark it as one")


def _shown(parameters: list[inspect.Parameter]) -> str:
    return ", ".join(str(parameter.replace(annotation=inspect.Parameter.empty)) for parameter in parameters)


def _named(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)


def _can_change(default: Any, hint: Any) -> bool:
    return copy.deepcopy(default) is not default and not is_immutable(hint)


def operation_of(method: Callable[..., Any]) -> OperationDefinition:
    """Return the operation behind `Ledger.transfer`. Raises `WiringError` for any other function."""
    api: type[Api] | None = getattr(method, "craton_api", None)
    if api is None:
        raise WiringError(f"{method.__qualname__} is neither a command nor a query of an Api")
    return api.operations[method.__name__]
