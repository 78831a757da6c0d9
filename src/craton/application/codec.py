"""Encoding by annotation: by msgspec, and by the wire forms that `Scalar` types define."""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cache
from typing import Any, Final, TypeVar, get_args, get_origin

import msgspec
from msgspec import inspect

from craton.application.errors import NotStorable
from craton.application.fidelity import certainly_kept
from craton.application.parts import parts_in, parts_of
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


def masked(value: Any) -> Any:
    """Return a value in JSON's own types, with a placeholder for each secret."""
    return msgspec.to_builtins(value, enc_hook=_encode_masked)


def _encode_masked(value: Any) -> Any:
    return "***" if isinstance(value, Secret) else encode_scalar(value)


def encode_to_keep(value: Any, kind: Any, what: str) -> bytes:
    """Return the JSON of a value that will be read back as `kind`.

    Raises `NotStorable`, with the path of the difference, unless the value that would be read back is the same: equal,
    and of the same type where types differ in more than equality (a list, a dictionary). Times are the same if their
    instants are.
    """
    try:
        wire = _encoder.encode(value)
        if certainly_kept(kind)(value):
            return wire
        again = decoder(kind).decode(wire)
        equal = bool(again == value)
        difference = None if equal and _equality_tells(kind) else _difference(value, again, equal=equal)
    except Exception as problem:
        raise _not_storable(what, problem) from problem
    if difference is not None:
        path, given, read = difference
        raise NotStorable(f"{what} can't be written, because {_said(given, read)} - at `${path}`")
    return wire


def encode_answer(value: Any, kind: Any, what: str) -> bytes:
    """Return the JSON of an answer, which may be read back as `kind` in another form: a list in place of a tuple.

    Raises `NotStorable` for a value that can't be read back at all, or that holds a secret without its type saying so.
    """
    encoder = _encoder if holds_secrets(kind) else _unsecret_encoder
    try:
        wire = encoder.encode(value)
        if not certainly_kept(kind)(value):
            decoder(kind).decode(wire)
    except Exception as problem:
        raise _not_storable(what, problem) from problem
    return wire


def _encode_unsecret(value: Any) -> Any:
    if isinstance(value, Secret):
        raise TypeError("it holds a Secret, and its type doesn't say so")
    return encode_scalar(value)


_unsecret_encoder = msgspec.json.Encoder(enc_hook=_encode_unsecret)


def _not_storable(what: str, problem: Exception) -> NotStorable:
    reason = str(problem) if isinstance(problem, TypeError | ValueError) else f"{type(problem).__name__}: {problem}"
    return NotStorable(f"{what} can't be written, because it couldn't be read back: {reason}")


_PLAIN: Final = (
    inspect.IntType,
    inspect.FloatType,
    inspect.StrType,
    inspect.DateTimeType,
    inspect.DateType,
    inspect.TimeType,
    inspect.TimeDeltaType,
    inspect.UUIDType,
    inspect.DecimalType,
    inspect.EnumType,
    inspect.LiteralType,
)
"""Types of single values. They can be keys, and two equal values are interchangeable."""
_TELLING: Final = (
    *_PLAIN,
    inspect.Metadata,
    inspect.UnionType,
    inspect.NoneType,
    inspect.BoolType,
    inspect.CustomType,
    inspect.StructType,
    inspect.DataclassType,
)
"""Types of which two equal values are interchangeable. Equal containers may hold values that aren't."""
_CONTAINERS: Final = (list, tuple, dict, set, frozenset, bytes, bytearray, memoryview)
_LISTS: Final = (inspect.ListType, inspect.VarTupleType, inspect.SetType, inspect.FrozenSetType)
_NOTHING: Final = object()


@cache
def _equality_tells(kind: Any) -> bool:
    """Whether equal values of a type are always interchangeable, so that their parts needn't be compared."""
    return all(isinstance(part, _TELLING) for part in parts_of(kind))


def _difference(value: Any, again: Any, *, equal: bool) -> tuple[str, Any, Any] | None:
    """Where a value first differs from what was read, with both parts. `equal`: `==` has found no difference so far."""
    kind: Any = type(again)
    parts: list[tuple[Any, Any, Any]]
    if value.__class__ is not kind:
        alike = not isinstance(again, _CONTAINERS) and (equal or value == again or _are_one_instant(value, again))
        return None if alike else ("", value, again)
    fields = _fields(kind)
    if fields is not None:
        form, parts = (
            ".{}",
            [
                (name, own, read)
                for name, deep in (_untold(kind) if equal else dict.fromkeys(fields, True)).items()
                if type(own := getattr(value, name)) is not type(read := getattr(again, name)) or deep
            ],
        )
    elif not isinstance(again, dict | list | tuple | set | frozenset):
        return None if equal or value == again or _are_one_instant(value, again) else ("", value, again)
    elif len(value) != len(again):
        return "", value, again
    elif equal and _all_tell(again) and (not isinstance(again, dict) or _all_tell(again.values())):
        return None
    elif isinstance(again, dict):
        form, parts = "[{!r}]", [*zip(value, value, again, strict=True)]
        parts += zip(value, value.values(), again.values(), strict=True)
    elif isinstance(again, list | tuple):
        form, parts = "[{}]", [*zip(range(len(value)), value, again, strict=True)]
    else:
        others = {encode(item): item for item in again}
        form, parts = "[...]", [(None, item, others.get(encode(item), _NOTHING)) for item in value]
    for step, item, other in parts:
        difference = _difference(item, other, equal=equal)
        if difference is not None:
            return form.format(step) + difference[0], *difference[1:]
    lacks_equality = not equal and value != again and all(item == other for _, item, other in parts)
    return ("", value, again) if lacks_equality else None


def _all_tell(items: Iterable[Any]) -> bool:
    return all(map(_equality_tells, set(map(type, items))))


@cache
def _untold(kind: Any) -> dict[str, bool]:
    """The fields of a class that equality doesn't fully compare; for each, whether this is also true of its parts."""
    found = {}
    for name, field in (_fields(kind) or {}).items():
        untold = [part for part in parts_in(field.type) if not isinstance(part, _TELLING)]
        if untold:
            found[name] = untold != [field.type] or isinstance(field.type, inspect.AnyType)
    return found


def _are_one_instant(value: Any, again: Any) -> bool:
    """Whether two times are one instant. `==` is never true for two time zones in an hour in which clocks change."""
    return (
        isinstance(value, datetime)
        and isinstance(again, datetime)
        and value.utcoffset() == again.utcoffset()
        and value.replace(tzinfo=None) == again.replace(tzinfo=None)
    )


def _said(given: Any, read: Any) -> str:
    """Describe the difference between a value and what was read back, which may be the text of a secret."""
    name = type(read).__name__
    if read is _NOTHING or (type(given) is type(read) and isinstance(read, _CONTAINERS)):
        said = f"another value would be read back than {given!r}"
    elif type(given) is not type(read):
        said = f"the {type(given).__name__} {given!r} would be read back as a {name}"
    elif encode(given) == encode(read) and not isinstance(given, datetime):
        return f"{given!r} isn't equal to itself when it is read back; give {name} an __eq__ by which it is"
    else:
        said = f"{given!r} would be read back as {read!r}"
    return f"{said}; give a value of the type that is annotated"


@cache
def decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """Return the decoder of a type."""
    return msgspec.json.Decoder(kind, dec_hook=decode_scalar)


def decode(kind: type[T], wire: bytes | str) -> T:
    """Read JSON as a type. Raises `msgspec.ValidationError` with the path of what is wrong."""
    anything: Any = kind
    value: T = decoder(anything).decode(wire)
    return value


def decode_known(kind: type[T], wire: bytes) -> T:
    """Read JSON as a type, without fields that only a later version of the type has. Raises `msgspec.ValidationError`.

    Types that refuse unknown fields do so to find mistakes of callers. What a newer program answers is no mistake.
    """
    try:
        return decode(kind, wire)
    except msgspec.ValidationError:
        known = _known(msgspec.json.decode(wire), inspect.type_info(kind))
        value: T = convert(known, kind)
        return value


def _known(value: Any, info: inspect.Type) -> Any:
    """The parts of plain data that a type has fields for."""
    match info:
        case inspect.Metadata():
            return _known(value, info.type)
        case inspect.StructType() if isinstance(value, dict):
            fields = {field.encode_name: field.type for field in info.fields}
            tag = {info.tag_field: value[info.tag_field]} if info.tag_field in value else {}
            return tag | {name: _known(value[name], fields[name]) for name in value.keys() & fields.keys()}
        case inspect.UnionType():
            structs = [one for one in info.types if isinstance(one, inspect.StructType)]
            if not isinstance(value, dict):
                lists = [one for one in info.types if isinstance(one, _LISTS)]
                return _known(value, lists[0]) if isinstance(value, list) and lists else value
            fitting = [one for one in structs if one.tag_field is None or value.get(one.tag_field) == one.tag]
            return _known(value, fitting[0]) if fitting else value
        case inspect.TupleType() if isinstance(value, list) and len(value) == len(info.item_types):
            return [_known(item, kind) for item, kind in zip(value, info.item_types, strict=True)]
        case inspect.DictType() if isinstance(value, dict):
            return {key: _known(item, info.value_type) for key, item in value.items()}
        case _ if isinstance(info, _LISTS) and isinstance(value, list):
            return [_known(item, info.item_type) for item in value]
        case _:
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
    for part in parts_of(kind):
        if isinstance(part, inspect.CustomType) and not (
            hasattr(part.cls, "encode_value") and hasattr(part.cls, "decode_value")
        ):
            return f"{part.cls.__name__} has no wire form; give it encode_value and decode_value"
        if isinstance(part, inspect.DictType) and not _can_be_key(part.key_type):
            return "keys of a dictionary are written as texts, and these couldn't be read back from one"
    return None


_KEYS: Final = (*_PLAIN, inspect.AnyType, inspect.BytesType)


def _can_be_key(info: inspect.Type) -> bool:
    if isinstance(info, inspect.Metadata):
        return _can_be_key(info.type)
    if isinstance(info, inspect.UnionType):
        return any(map(_can_be_key, info.types))
    if isinstance(info, inspect.CustomType):
        return getattr(info.cls, "json_schema", {}).get("type") not in ("object", "array", "boolean", "null")
    return isinstance(info, _KEYS)


def fingerprint(value: Any) -> str:
    """Return a short, stable digest of plain data."""
    return hashlib.blake2b(encode(value), digest_size=16).hexdigest()


def canonical(value: Any) -> Any:
    """Return plain data that is the same for equal values in every process and version of the program.

    Fields at their defaults are left out, so adding a field with a default changes nothing. Sets and dicts are put in
    order. A secret is left out, so that a digest doesn't reveal it.
    """
    if isinstance(value, str | int | float | None):
        return value
    if isinstance(value, Secret):
        return repr(value)
    if _fields(value.__class__) is not None:
        tag = value.__struct_config__.tag if isinstance(value, msgspec.Struct) else None
        given = [[field, canonical(getattr(value, field))] for field in _not_at_default(value)]
        return given if tag is None else [tag, given]
    if isinstance(value, dict):
        return sorted(([canonical(key), canonical(item)] for key, item in value.items()), key=encode)
    if isinstance(value, set | frozenset):
        return sorted(map(canonical, value), key=encode)
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    return plain(value)


def _not_at_default(value: Any) -> Iterator[str]:
    for name, field in (_fields(value.__class__) or {}).items():
        own = getattr(value, name)
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        if not is_same(own, default):
            yield name


@cache
def _fields(kind: Any) -> dict[str, inspect.Field] | None:
    """The fields of a struct, a dataclass or a named tuple; None for all other classes."""
    info = inspect.type_info(kind)
    if isinstance(info, inspect.StructType | inspect.DataclassType | inspect.NamedTupleType):
        return {field.name: field for field in info.fields}
    return None


def is_same(value: Any, other: Any) -> bool:
    """Whether two values are of one type and equal; 1 and True aren't the same."""
    return type(value) is type(other) and bool(value == other)


def shape(kind: Any) -> str:
    """Return a digest of a type's shape. It changes when the type could no longer read what it has stored."""
    schemas, components = msgspec.json.schema_components((kind,), schema_hook=schema_of_scalar)
    return fingerprint([schemas, components, repr(_plain(kind))])


def _plain(kind: Any) -> Any:
    return [_plain(part) for part in get_args(kind)] if get_origin(kind) else getattr(kind, "__name__", str(kind))
