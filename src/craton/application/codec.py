"""Encoding by annotation: msgspec, and the wire forms that `Scalar` types bring along."""

import hashlib
from collections.abc import Iterator
from functools import cache
from typing import Any, Final, TypeVar, get_args, get_origin

import msgspec
from msgspec import inspect

from craton.application.errors import NotStorable
from craton.application.parts import parts_of
from craton.domain import Secret

T = TypeVar("T")


def encode_scalar(value: Any) -> Any:
    """msgspec's `enc_hook`: the wire form of a `Scalar`."""
    try:
        return value.encode_value()
    except AttributeError:
        raise TypeError(f"{type(value).__name__} can't be encoded: give it encode_value and decode_value") from None


@cache
def holds_secrets(kind: Any) -> bool:
    """Whether a value of this type may hold a `Secret`, itself or in one of its parts."""
    return any(isinstance(part, inspect.CustomType) and issubclass(part.cls, Secret) for part in parts_of(kind))


def decode_scalar(kind: type[Any], wire: Any) -> Any:
    """msgspec's `dec_hook`: the `Scalar` that has this wire form."""
    try:
        decode = kind.decode_value
    except AttributeError:
        raise TypeError(f"{kind.__name__} can't be decoded: give it encode_value and decode_value") from None
    return decode(wire)


_encoder = msgspec.json.Encoder(enc_hook=encode_scalar)


def encode(value: Any) -> bytes:
    """Return the JSON of a value."""
    return _encoder.encode(value)


def encode_text(value: Any) -> str:
    """Return the JSON of a value as text."""
    return _encoder.encode(value).decode()


def encode_to_keep(value: Any, kind: Any, what: str) -> bytes:
    """Return the JSON of a value that will be read back as `kind`.

    Raises `NotStorable`, with the path of what is wrong, unless the very same value would be read back.
    """
    try:
        wire = encode(value)
        again = decoder(kind).decode(wire)
    except (TypeError, ValueError, RecursionError) as problem:
        raise NotStorable(f"{what} can't be written, because it couldn't be read back: {problem}") from problem
    if again != value:
        path, given, read = _difference(value, again, "$")
        raise NotStorable(
            f"{what} can't be written, because {given!r} would be read back as {read!r} - at `{path}`; "
            f"give a value of the type that is annotated"
        )
    return wire


def _difference(value: Any, again: Any, path: str) -> tuple[str, Any, Any]:
    """Where two values differ first, and the two parts."""
    parts: list[tuple[str, Any, Any]] = []
    if type(value) is type(again):
        if isinstance(value, msgspec.Struct):
            parts = [(f"{path}.{name}", getattr(value, name), getattr(again, name)) for name in value.__struct_fields__]
        elif isinstance(value, dict) and value.keys() == again.keys():
            parts = [(f"{path}[{key!r}]", item, again[key]) for key, item in value.items()]
        elif isinstance(value, list | tuple) and len(value) == len(again):
            parts = [
                (f"{path}[{place}]", item, other) for place, (item, other) in enumerate(zip(value, again, strict=True))
            ]
    for inner, item, other in parts:
        if item != other:
            return _difference(item, other, inner)
    return path, value, again


@cache
def decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """Return the decoder of a type."""
    return msgspec.json.Decoder(kind, dec_hook=decode_scalar)


def decode(kind: type[T], wire: bytes | str) -> T:
    """Read JSON as a type. Raises `msgspec.ValidationError` with the path of what is wrong."""
    anything: Any = kind
    value: T = decoder(anything).decode(wire)
    return value


def convert(wire: Any, kind: Any, *, strict: bool = True) -> Any:
    """Read plain data, as JSON has it, as a type. Raises `msgspec.ValidationError` with the path of what is wrong."""
    return msgspec.convert(wire, kind, strict=strict, str_keys=True, dec_hook=decode_scalar)


def plain(value: Any) -> Any:
    """Return the plain data, as JSON has it, of a value."""
    return msgspec.to_builtins(value, str_keys=True, enc_hook=encode_scalar)


def schema_of_scalar(kind: type[Any]) -> dict[str, Any]:
    """msgspec's `schema_hook`."""
    schema: dict[str, Any] = kind.json_schema
    return schema


def unencodable(kind: Any) -> str | None:
    """Return why values of a type can't cross a process boundary, or None when they can."""
    if kind is Any or kind is object:
        return "it is annotated as anything at all"
    try:
        msgspec.json.schema_components((kind,), schema_hook=schema_of_scalar)
    except (TypeError, AttributeError) as problem:
        return str(problem)
    return None


def fingerprint(value: Any) -> str:
    """Return a short, stable digest of plain data."""
    return hashlib.blake2b(encode(value), digest_size=16).hexdigest()


def canonical(value: Any) -> Any:
    """Return plain data that is the same for equal values in every process and version of the program.

    Fields of structs that are at their defaults are left out, so that a field which is added with a default changes
    nothing; sets and dicts have an order; a secret is left out, so that a digest doesn't betray it.
    """
    if isinstance(value, str | int | float | None):
        return value
    if isinstance(value, Secret):
        return repr(value)
    if isinstance(value, msgspec.Struct):
        tag = value.__struct_config__.tag
        given = [[field, canonical(getattr(value, field))] for field in _not_at_default(value)]
        return given if tag is None else [tag, given]
    if isinstance(value, dict):
        return sorted(([canonical(key), canonical(item)] for key, item in value.items()), key=encode)
    if isinstance(value, set | frozenset):
        return sorted(map(canonical, value), key=encode)
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    return plain(value)


def _not_at_default(value: msgspec.Struct) -> Iterator[str]:
    for name, field in _fields(type(value)).items():
        own = getattr(value, name)
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        if not is_same(own, default):
            yield name


@cache
def _fields(kind: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.name: field for field in msgspec.structs.fields(kind)}


def is_same(value: Any, other: Any) -> bool:
    """Whether two values are of one type and equal; 1 and True are not the same."""
    return type(value) is type(other) and bool(value == other)


def shape(kind: Any) -> str:
    """Return a digest of a type's shape: it changes when what is stored by it could no longer be read by it."""
    schemas, components = msgspec.json.schema_components((kind,), schema_hook=schema_of_scalar)
    return fingerprint([schemas, components, repr(_plain(kind))])


def _plain(kind: Any) -> Any:
    return [_plain(part) for part in get_args(kind)] if get_origin(kind) else getattr(kind, "__name__", str(kind))
