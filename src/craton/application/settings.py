"""A module's settings, which are read from the environment."""

from collections import Counter
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from math import log2
from typing import Any, Final, TypeVar, get_type_hints
from urllib.parse import urlsplit

import msgspec

from craton.application.codec import convert
from craton.application.errors import WiringError
from craton.domain import Secret
from craton.domain.immutable import Immutable

S = TypeVar("S", bound="Settings")

FEWEST_BITS: Final = 48.0
"""The least information that a secret must have: sixteen random letters have more, most words and years less."""


class Settings(Immutable):
    """A module's settings: fields with defaults and with descriptions (`Annotated[int, Meta(description="…")]`).

    `page_limit` of the module `catalog` is read from the environment, from `CRATON_CATALOG_PAGE_LIMIT`. Keys and
    passwords are annotated as `Secret`.
    """

    def unfit_for_production(self) -> Iterator[str]:
        """Yield a sentence for each setting that is unfit for production. A module's own class may add more.

        For all modules it is checked that secrets are hard to guess, and that URLs don't lead to this machine.
        """
        yield from ()


def variable(module: str, field: str) -> str:
    """The name of the environment variable that a setting is read from."""
    return f"CRATON_{module}_{field}".upper()


def read_settings(kind: type[S], module: str, environment: Mapping[str, str]) -> S:
    """Return a module's settings. Raises `WiringError`, with the name of the variable, for a wrong value."""
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        name = variable(module, field.name)
        if environment.get(name):
            hint = get_type_hints(kind, include_extras=True)[field.name]
            try:
                values[field.name] = convert(environment[name], hint, strict=False)
            except msgspec.ValidationError as problem:
                raise WiringError(f"{name} can't be used: {problem}") from None
        elif field.required:
            raise WiringError(f"{name} must be set: {meaning(kind, field.name)}")
    return kind(**values)


def unfit_for_production(settings: Settings, module: str) -> Iterator[str]:
    """Yield a sentence for each of a module's settings that is unfit for production."""
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        if isinstance(value, Secret) and _bits(value.reveal()) < FEWEST_BITS:
            yield f"{variable(module, name)} is too easy to guess; use a random secret, for example of 32 characters."
        elif isinstance(value, str) and _leads_here(value):
            yield f"{variable(module, name)} leads to this machine ({value}); set the address that others can reach."
    yield from settings.unfit_for_production()


def _bits(text: str) -> float:
    """The information in a text, from how often each character occurs (Shannon, 1948); repetitions add nothing."""
    text = text[: (text + text).find(text, 1)]
    counts = Counter(text).values()
    return -sum(count * log2(count / len(text)) for count in counts)


def _leads_here(text: str) -> bool:
    if not text.startswith(("http://", "https://")):
        return False
    host = (urlsplit(text).hostname or "").rstrip(".")
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def meaning(kind: type[Settings], field: str) -> str:
    """The description of a setting, from its annotation."""
    marks = getattr(get_type_hints(kind, include_extras=True)[field], "__metadata__", ())
    return next((mark.description for mark in marks if getattr(mark, "description", None)), "")


def shown(settings: Settings) -> Iterator[tuple[str, str]]:
    """Each setting's name and value, with secrets masked."""
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        yield name, "" if value is None else "***" if isinstance(value, Secret) else str(value)
