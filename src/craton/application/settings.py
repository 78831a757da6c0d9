"""What a module can be told from outside."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_type_hints

import msgspec

from craton.application.codec import convert
from craton.application.errors import WiringError
from craton.domain import Secret
from craton.domain.immutable import Immutable

S = TypeVar("S", bound="Settings")


class Settings(Immutable):
    """A module's settings: fields with defaults, and a meaning (`Annotated[int, Meta(description="…")]`).

    `page_limit` of the module `catalog` is read from the environment, from `CRATON_CATALOG_PAGE_LIMIT`. Keys and
    passwords are annotated as `Secret`.
    """


def variable(module: str, field: str) -> str:
    """The name of the variable that a setting is read from."""
    return f"CRATON_{module}_{field}".upper()


def read_settings(kind: type[S], module: str, environment: Mapping[str, str]) -> S:
    """Return a module's settings. Raises `WiringError` with the name of the variable that holds a wrong value."""
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


def meaning(kind: type[Settings], field: str) -> str:
    """What a setting is for, by its annotation."""
    marks = getattr(get_type_hints(kind, include_extras=True)[field], "__metadata__", ())
    return next((mark.description for mark in marks if getattr(mark, "description", None)), "")


def shown(settings: Settings) -> Iterator[tuple[str, str]]:
    """Each setting's name and value, secrets masked."""
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        yield name, "" if value is None else "***" if isinstance(value, Secret) else str(value)
