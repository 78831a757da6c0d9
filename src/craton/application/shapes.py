"""The shapes of types as they are stored, and whether a type can still read what was written by another shape.

A shape is plain data, so that it can be stored: it describes field by field what `codec.encode` writes for the type.
Names of classes aren't part of it, because nothing stored contains them; tags of unions are.
"""

from collections.abc import Iterator
from typing import Any, Final

from msgspec import inspect

Shape = dict[str, Any]

_LEAVES: Final[dict[type[Any], Shape]] = {
    inspect.AnyType: {"is": "anything"},
    inspect.NoneType: {"is": "null"},
    inspect.BoolType: {"is": "boolean"},
    inspect.IntType: {"is": "integer"},
    inspect.FloatType: {"is": "number"},
    inspect.StrType: {"is": "text"},
    inspect.BytesType: {"is": "text", "format": "base64"},
    inspect.DateTimeType: {"is": "text", "format": "date-time"},
    inspect.DateType: {"is": "text", "format": "date"},
    inspect.TimeType: {"is": "text", "format": "time"},
    inspect.TimeDeltaType: {"is": "text", "format": "duration"},
    inspect.UUIDType: {"is": "text", "format": "uuid"},
    inspect.DecimalType: {"is": "text", "format": "decimal"},
}
_LISTS: Final = (inspect.ListType, inspect.SetType, inspect.FrozenSetType, inspect.VarTupleType)
_OBJECTS: Final = (inspect.StructType, inspect.DataclassType, inspect.TypedDictType)
_LIMITS: Final = {
    "gt": "exclusiveMinimum",
    "ge": "minimum",
    "lt": "exclusiveMaximum",
    "le": "maximum",
    "multiple_of": "multipleOf",
    "min_length": "minLength",
    "max_length": "maxLength",
    "pattern": "pattern",
    "tz": "offset",
}
"""Limits of msgspec's types, by their names in JSON Schema, which scalars use."""
_LOWER: Final = ("exclusiveMinimum", "minimum", "minLength")
_UPPER: Final = ("exclusiveMaximum", "maximum", "maxLength")
_SCALARS: Final = {"string": "text", "integer": "integer", "number": "number", "boolean": "boolean"}
_COMMENTS: Final = ("title", "description", "examples", "default")


def shape_of(kind: Any) -> Shape:
    """The shape of a type. Structs are listed separately, because they may contain themselves."""
    structs: dict[Any, Shape] = {}
    root = _node(inspect.type_info(kind), structs)
    return {"root": root, "structs": list(structs.values())}


def _node(info: Any, structs: dict[Any, Shape]) -> Shape:
    if isinstance(info, inspect.Metadata):
        return _node(info.type, structs)
    if type(info) in _LEAVES:
        return {**_LEAVES[type(info)], **_limits(info)}
    if isinstance(info, inspect.LiteralType):
        return {"is": "one of", "values": list(info.values)}
    if isinstance(info, inspect.EnumType):
        return {"is": "one of", "values": sorted((member.value for member in info.cls), key=repr)}
    if isinstance(info, inspect.UnionType):
        return {"is": "any of", "types": [_node(part, structs) for part in info.types]}
    if isinstance(info, _LISTS):
        return {"is": "list", "items": _node(info.item_type, structs), **_limits(info)}
    if isinstance(info, inspect.TupleType):
        return {"is": "tuple", "items": [_node(part, structs) for part in info.item_types]}
    if isinstance(info, inspect.DictType):
        keys, values = _node(info.key_type, structs), _node(info.value_type, structs)
        return {"is": "dictionary", "keys": keys, "values": values, **_limits(info)}
    if isinstance(info, _OBJECTS) and not getattr(info, "array_like", False):
        return {"is": "object", "struct": _struct(info, structs)}
    if isinstance(info, inspect.CustomType):
        return _scalar(info.cls)
    return {"is": type(info).__name__}


def _struct(info: Any, structs: dict[Any, Shape]) -> int:
    if info.cls not in structs:
        shape = structs[info.cls] = {}
        shape["fields"] = {
            field.encode_name: {"required": field.required, "type": _node(field.type, structs)} for field in info.fields
        }
        if getattr(info, "forbid_unknown_fields", False):
            shape["closed"] = True
        if getattr(info, "tag", None) is not None:
            shape["tag"] = [info.tag_field, info.tag]
    return list(structs).index(info.cls)


def _scalar(kind: type[Any]) -> Shape:
    """The shape of a scalar is its JSON schema."""
    schema = _without_comments(getattr(kind, "json_schema", kind.__name__))
    plain = _SCALARS.get(schema["type"]) if isinstance(schema, dict) and "type" in schema else None
    if plain is None:
        return {"is": "scalar", "schema": schema}
    return {"is": plain, **{name: value for name, value in schema.items() if name != "type"}}


def _without_comments(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {name: _without_comments(part) for name, part in schema.items() if name not in _COMMENTS}
    return schema


def _limits(info: Any) -> Shape:
    found = {stated: getattr(info, name, None) for name, stated in _LIMITS.items()}
    return {stated: limit for stated, limit in found.items() if limit is not None}


def unreadable(written: Shape, reading: Shape) -> list[str]:
    """Return a sentence for each place where one shape can't read what another has written; empty if it can."""
    return list(_Comparison(written["structs"], reading["structs"]).compare(written["root"], reading["root"], ""))


class _Comparison:
    def __init__(self, written: list[Shape], reading: list[Shape]) -> None:
        self._written = written
        self._reading = reading
        self._compared: set[tuple[int, int]] = set()

    def compare(self, written: Shape, reading: Shape, path: str) -> Iterator[str]:
        if written == reading and not _holds_structs(written):
            return
        if reading["is"] == "anything":
            return
        if written["is"] == "any of":
            for part in written["types"]:
                if not self._read_by_any(part, reading, path):
                    yield f"{path or 'it'} could be {_said(part)}"
        elif written["is"] == "one of":
            gone = [value for value in written["values"] if not _reads_value(reading, value)]
            if gone:
                yield f"{path or 'it'} could be {', '.join(map(repr, gone))}"
        elif reading["is"] == "any of":
            if not self._read_by_any(written, reading, path):
                yield f"{path or 'it'} was {_said(written)}"
        elif written["is"] == "integer" and reading["is"] == "number":
            yield from _compare_limits(written, reading, path)
        elif written["is"] == "tuple" and reading["is"] == "list":
            for place, part in enumerate(written["items"]):
                yield from self.compare(part, reading["items"], f"{path}[{place}]")
        elif written["is"] != reading["is"]:
            yield f"{path or 'it'} was {_said(written)} and is {_said(reading)}"
        else:
            yield from self._compare_alike(written, reading, path)

    def _compare_alike(self, written: Shape, reading: Shape, path: str) -> Iterator[str]:
        match written["is"]:
            case "object":
                yield from self._compare_objects(written["struct"], reading["struct"], path)
            case "list":
                yield from self.compare(written["items"], reading["items"], f"{path}[…]")
            case "tuple":
                if len(written["items"]) != len(reading["items"]):
                    yield f"{path} had {len(written['items'])} parts and has {len(reading['items'])}"
                for place, (old, new) in enumerate(zip(written["items"], reading["items"], strict=False)):
                    yield from self.compare(old, new, f"{path}[{place}]")
            case "dictionary":
                yield from self.compare(written["keys"], reading["keys"], f"the keys of {path}")
                yield from self.compare(written["values"], reading["values"], f"{path}[…]")
            case "scalar":
                yield f"{path} is stored in another form"
        yield from _compare_limits(written, reading, path)

    def _compare_objects(self, written: int, reading: int, path: str) -> Iterator[str]:
        if (written, reading) in self._compared:
            return
        self._compared.add((written, reading))
        old, new = self._written[written], self._reading[reading]
        if "tag" in new and new["tag"] != old.get("tag"):
            yield f"{path or 'it'} was tagged {old.get('tag')} and is tagged {new['tag']}"
        before, now = old["fields"], new["fields"]
        gone = [name for name in before if name not in now]
        for name, field in now.items():
            inside = f"{path}.{name}" if path else name
            if name not in before:
                if field["required"]:
                    yield f"{inside} is new and has no default"
                elif renamed := [old for old in gone if not list(self._probe(before[old]["type"], field["type"]))]:
                    yield f"{inside} is new and {', '.join(renamed)} is gone, so that it may be the same renamed"
            else:
                yield from self.compare(before[name]["type"], field["type"], inside)
                if field["required"] and not before[name]["required"]:
                    yield f"{inside} could be left out"
        if new.get("closed"):
            for name in gone:
                yield f"{path + '.' if path else ''}{name} is gone, and {path or 'it'} admits no unknown fields"

    def _read_by_any(self, written: Shape, reading: Shape, path: str) -> bool:
        options = reading["types"] if reading["is"] == "any of" else [reading]
        return any(not list(self._probe(written, option)) for option in options)

    def _probe(self, written: Shape, reading: Shape) -> Iterator[str]:
        """Compare without remembering the comparison, because another member of the union may fit."""
        probe = _Comparison(self._written, self._reading)
        probe._compared = set(self._compared)
        return probe.compare(written, reading, "")


def _holds_structs(shape: Any) -> bool:
    if isinstance(shape, dict):
        return "struct" in shape or any(map(_holds_structs, shape.values()))
    return isinstance(shape, list) and any(map(_holds_structs, shape))


def _reads_value(reading: Shape, value: Any) -> bool:
    match reading:
        case {"is": "one of", "values": values}:
            return any(type(value) is type(known) and value == known for known in values)
        case {"is": "any of", "types": types}:
            return any(_reads_value(option, value) for option in types)
        case {"is": kind, **limits} if not limits:
            return kind in ("anything", {str: "text", int: "integer", float: "number"}.get(type(value)))
    return False


def _compare_limits(written: Shape, reading: Shape, path: str) -> Iterator[str]:
    for name, limit in reading.items():
        if name in _LOWER:
            narrower = name not in written or written[name] < limit
        elif name in _UPPER:
            narrower = name not in written or written[name] > limit
        else:
            narrower = name in ("pattern", "multipleOf", "format", "offset") and written.get(name) != limit
        if narrower:
            before = f"was {written[name]}" if name in written else "is new"
            yield f"{path or 'it'} must have the {name} {limit}, which {before}"


def _said(shape: Shape) -> str:
    match shape:
        case {"is": "text", "format": form}:
            return f"a text ({form})"
        case {"is": "any of", "types": types}:
            return " or ".join(map(_said, types))
        case {"is": "one of", "values": values}:
            return f"one of {', '.join(map(repr, values))}"
    return str(shape["is"])
