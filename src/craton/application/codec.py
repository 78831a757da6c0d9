"""Encoding by annotation: msgspec, and the wire forms that `Scalar` types bring along."""

import hashlib
from functools import cache
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from craton.domain import Secret

T = TypeVar("T")


def encode_scalar(value: Any) -> Any:
    """msgspec's `enc_hook`: the wire form of a `Scalar`."""
    try:
        return value.encode_value()
    except AttributeError:
        raise TypeError(f"{type(value).__name__} can't be encoded: give it encode_value and decode_value") from None


def encode_openly(value: Any) -> Any:
    """The wire form of a `Scalar`, if everybody may see it; a secret's name for itself if not."""
    return repr(value) if isinstance(value, Secret) else encode_scalar(value)


def holds_secrets(kind: Any, within: tuple[Any, ...] = ()) -> bool:
    """Whether a value of this type may hold a `Secret`, itself or in one of its fields."""
    if isinstance(kind, type) and issubclass(kind, Secret):
        return True
    parts = list(get_args(kind))
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in within:
        parts += get_type_hints(kind).values()
    return any(holds_secrets(part, (*within, kind)) for part in parts)


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
    """Read plain data as a type. Raises `msgspec.ValidationError` with the path of what is wrong."""
    return msgspec.convert(wire, kind, strict=strict, dec_hook=decode_scalar)


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


def shape(kind: Any) -> str:
    """Return a digest of a type's shape: it changes when what is stored by it could no longer be read by it."""
    schemas, components = msgspec.json.schema_components((kind,), schema_hook=schema_of_scalar)
    return fingerprint([schemas, components, repr(_plain(kind))])


def _plain(kind: Any) -> Any:
    return [_plain(part) for part in get_args(kind)] if get_origin(kind) else getattr(kind, "__name__", str(kind))
