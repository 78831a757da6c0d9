"""The schemas of the document: each type once, as generators of clients expect."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from craton.adapters.http.openapi.shared import Schema, references
from craton.application.codec import schema_of_scalar
from craton.application.parts import parts_of
from craton.application.rows import Row, hidden_fields

REFERENCE: Final = "#/components/schemas/{name}"


class Schemas:
    """The schemas of types, and the components that they refer to."""

    def __init__(
        self, answers: Iterable[Any], *, bodies: Mapping[type[Any], str], parameters: Iterable[type[Any]]
    ) -> None:
        """`bodies` have names; `parameters` are structs of the parameters in a path or a query."""
        asked = list(parameters)
        kinds = self._kinds = [*answers, *bodies, *asked]
        self._scalars: dict[str, Schema] = {}
        found, components = msgspec.json.schema_components(
            kinds, schema_hook=self._schema_of_scalar, ref_template=REFERENCE
        )
        self.components: dict[str, Schema] = {**components, **self._scalars}
        self._of = {id(kind): schema for kind, schema in zip(kinds, found, strict=True)}
        hidden = _hidden_fields(kinds)
        for schema in [*self.components.values(), *found]:
            _walk(schema, _give_enums_a_type)
        self._parameters = {id(kind): self.components.pop(_name(self[kind])) for kind in asked}
        requests = [*(self[kind] for kind in bodies), *self._parameters.values()]
        sent = set(self._reached(requests))
        for name, schema in self.components.items():
            for field in hidden.get(schema.get("title", ""), ()):
                schema["properties"].pop(field, None)
            if name in sent:
                _walk(schema, _say_defaults)
            elif schema.get("title") in _that_leave_defaults_out(kinds):
                _walk(schema, _absent_is_not_null)
            elif "properties" in schema:
                _walk(schema, _all_are_there)
        self._rename({kind.__name__: name for kind, name in bodies.items()})

    def __getitem__(self, kind: Any) -> Schema:
        return self._of[id(kind)]

    def parameters(self, kind: type[Any]) -> Iterator[tuple[str, bool, Schema]]:
        """The name of each parameter of a struct, whether it is required, and its schema."""
        schema = self._parameters[id(kind)]
        for name, field in _fields(schema):
            yield name, name in schema.get("required", ()), without_null(field)

    def _schema_of_scalar(self, kind: type[Any]) -> Schema:
        """The schema of a scalar. One that is an object, such as `Money`, is a component like other types with
        parts."""
        schema = schema_of_scalar(kind)
        if schema.get("type") != "object":
            example = getattr(kind, "example", "")
            return {**schema, "examples": [example]} if example else schema
        self._scalars[kind.__name__] = {"title": kind.__name__, **schema}
        return {"$ref": REFERENCE.format(name=kind.__name__)}

    def _reached(self, schemas: Iterable[Schema]) -> Iterator[str]:
        """The names of the components that schemas refer to, directly or indirectly."""
        seen: set[str] = set()
        waiting = list(schemas)
        while waiting:
            for name in {reference.rpartition("/")[2] for reference in references(waiting.pop())} - seen:
                seen.add(name)
                waiting.append(self.components[name])
                yield name

    def _rename(self, chosen: dict[str, str]) -> None:
        """`Page_Order_` becomes `PageOfOrder`; of two modules' types with one name, each gets a name like
        `ShopApiOrder`."""
        names = {name: chosen.get(name) or _readable(name) for name in self.components}
        if len(set(names.values())) < len(names):
            names = {name: name if list(names.values()).count(new) > 1 else new for name, new in names.items()}
        for schema in [*self.components.values(), *self._of.values(), *self._parameters.values()]:
            _walk(schema, lambda part: _refer(part, names))
        for name in list(self.components):
            schema = self.components.pop(name)
            if "title" in schema:
                schema["title"] = names[name]
            self.components[names[name]] = schema


def _structs_in(kinds: Iterable[Any]) -> Iterator[type[Any]]:
    for kind in kinds:
        for part in parts_of(kind):
            if isinstance(part, msgspec.inspect.StructType):
                yield getattr(part.cls, "__origin__", part.cls)


def _that_leave_defaults_out(kinds: Iterable[Any]) -> set[str]:
    return {struct.__name__ for struct in _structs_in(kinds) if struct.__struct_config__.omit_defaults}


def _hidden_fields(kinds: Iterable[Any]) -> dict[str, tuple[str, ...]]:
    """The hidden fields of rows, by the name of the row's class."""
    return {row.__name__: hidden_fields(row) for row in _structs_in(kinds) if issubclass(row, Row)}


def _readable(name: str) -> str:
    generic = re.fullmatch(r"(\w+?)_([\w.]+)_", name)
    whole = f"{generic[1]}Of{generic[2]}" if generic else name
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", whole))


def _refer(schema: Schema, names: dict[str, str]) -> None:
    if "$ref" in schema:
        head, _, name = schema["$ref"].rpartition("/")
        schema["$ref"] = f"{head}/{names.get(name, name)}"


def _name(reference: Schema) -> str:
    name: str = reference["$ref"].rpartition("/")[2]
    return name


def _walk(schema: Any, change: Callable[[Schema], None]) -> None:
    """Apply a change to a schema and to all schemas in it."""
    if isinstance(schema, dict):
        change(schema)
        for part in list(schema.values()):
            _walk(part, change)
    elif isinstance(schema, list):
        for part in schema:
            _walk(part, change)


def _give_enums_a_type(schema: Schema) -> None:
    choices = schema.get("enum")
    if isinstance(choices, list) and "type" not in schema and all(isinstance(choice, str) for choice in choices):
        schema["type"] = "string"


def _say_defaults(schema: Schema) -> None:
    """Describe defaults in requests, because generators for TypeScript treat a field with a `default` as required."""
    for name, field in _fields(schema):
        if "default" in field:
            default = field.pop("default")
            if default is None:
                schema["properties"][name] = without_null(field)
            else:
                said = f"If it isn't given: {msgspec.json.encode(default).decode()}."
                field["description"] = f"{field['description']} {said}" if "description" in field else said


def _absent_is_not_null(schema: Schema) -> None:
    """In answers of types that leave defaults out: such a field either has a value or is missing, but is never null."""
    for name, field in _fields(schema):
        if field.pop("default", "") is None:
            schema["properties"][name] = without_null(field)


def _all_are_there(schema: Schema) -> None:
    """In other answers: fields at their defaults are present like all others."""
    names = [name for name, _ in _fields(schema)]
    if names:
        schema["required"] = names
    for _, field in _fields(schema):
        field.pop("default", None)


def _fields(schema: Schema) -> list[tuple[str, Schema]]:
    properties = schema.get("properties")
    return list(properties.items()) if isinstance(properties, dict) else []


def without_null(schema: Schema) -> Schema:
    """The schema of an optional field without null, because leaving the field out says the same."""
    rest = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    outer = {key: value for key, value in schema.items() if key != "anyOf" and (key, value) != ("default", None)}
    return {**rest[0], **outer} if len(rest) == 1 else {**schema, **({"anyOf": rest} if rest else {})}
