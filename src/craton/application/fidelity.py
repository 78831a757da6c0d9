"""Which values are certainly the same when they are read back, so that they needn't be read back to find out.

The answer is made once for each type, as a function that looks only at the classes of a value and of its parts. It says
yes only if JSON can tell each part from all others that its type allows, and if nothing of the author's runs while the
part is read. For all other values the answer is no, and they have to be compared.
"""

import math
from collections.abc import Callable
from datetime import UTC, date, datetime
from enum import Flag
from functools import cache
from operator import attrgetter
from typing import Any, Final, get_origin

import msgspec
from msgspec import inspect

from craton.application.parts import parts_of
from craton.domain import Currency, Id, Money, Name, Text

Test = Callable[[Any], bool]

FIELDS_A_SCALAR: Final = 8
"""How many fields of other types are read back in the time of one scalar."""
_LARGEST: Final = 2**63 - 1


@cache
def certainly_kept(kind: Any) -> Test:
    """The test for values that will be read back as `kind`.

    It says no to all values of a type with few scalars: reading those back takes less time than the test would.
    """
    try:
        return _Tests().of(inspect.type_info(kind)) if _is_worth_it(kind) else _never
    except TypeError:  # it can't be encoded at all
        return _never


def _is_worth_it(kind: Any) -> bool:
    """Whether the test takes less time than reading a value back, which for anything but a scalar is fast."""
    scalars = fields = 0
    for part in parts_of(kind):
        if isinstance(part, inspect.CustomType):
            scalars += 1
        elif isinstance(part, inspect.StructType):
            fields += len(part.fields)
    return scalars * FIELDS_A_SCALAR >= max(1, fields)


def _never(_value: Any) -> bool:
    return False


def _is_text(value: Any) -> bool:
    return type(value) is str or (isinstance(value, Id) and _is_usual(type(value)))


def _is_whole(value: Any) -> bool:
    return type(value) is int and -_LARGEST <= value <= _LARGEST


def _is_number(value: Any) -> bool:
    return type(value) is float and math.isfinite(value)


def _is_truth(value: Any) -> bool:
    return value is True or value is False


def _is_none(value: Any) -> bool:
    return value is None


def _is_time(value: Any) -> bool:
    return type(value) is datetime and value.tzinfo is UTC


def _is_date(value: Any) -> bool:
    return type(value) is date


_PLAIN: Final[tuple[tuple[inspect.Type, Test], ...]] = (
    (inspect.StrType(), _is_text),
    (inspect.IntType(), _is_whole),
    (inspect.FloatType(), _is_number),
    (inspect.BoolType(), _is_truth),
    (inspect.NoneType(), _is_none),
    (inspect.DateTimeType(), _is_time),
    (inspect.DateTimeType(tz=True), _is_time),
    (inspect.DateType(), _is_date),
)
"""The tests of single values of types without constraints, which a constructor doesn't check but a decoder does."""


class _Tests:
    """Makes the test of one type. Structs are remembered, because one may contain itself."""

    def __init__(self) -> None:
        self._structs: dict[type[Any], Test] = {}

    def of(self, info: inspect.Type) -> Test:
        match info:
            case inspect.Metadata():
                return self.of(info.type)
            case inspect.CustomType(cls=cls):
                return _scalar(cls)
            case inspect.EnumType(cls=cls) if not issubclass(cls, Flag):
                return lambda value: type(value) is cls
            case inspect.LiteralType(values=values):
                return _literal(values)
            case inspect.StructType():
                return self._struct(info)
            case inspect.UnionType():
                return self._union(info)
            case inspect.VarTupleType(min_length=None, max_length=None):
                return self._items(tuple, info.item_type)
            case inspect.ListType(min_length=None, max_length=None):
                return self._items(list, info.item_type)
            case inspect.FrozenSetType(min_length=None, max_length=None):
                return self._items(frozenset, info.item_type)
            case inspect.TupleType():
                return self._tuple([self.of(item) for item in info.item_types])
            case inspect.DictType(min_length=None, max_length=None):
                return self._dict(info)
            case _:
                return next((test for plain, test in _PLAIN if plain == info), _never)

    def _items(self, container: type[Any], item: inspect.Type) -> Test:
        test = self.of(item)
        return lambda value: type(value) is container and all(map(test, value))

    def _tuple(self, tests: list[Test]) -> Test:
        def test(value: Any) -> bool:
            return (
                type(value) is tuple
                and len(value) == len(tests)
                and all(test(item) for test, item in zip(tests, value, strict=True))
            )

        return test

    def _dict(self, info: inspect.DictType) -> Test:
        if not isinstance(info.key_type, inspect.StrType | inspect.CustomType):
            return _never
        keys, values = self.of(info.key_type), self.of(info.value_type)
        return lambda value: type(value) is dict and all(map(keys, value)) and all(map(values, value.values()))

    def _union(self, info: inspect.UnionType) -> Test:
        """Of several types, JSON only tells null and tagged structs from each other for certain."""
        others = [part for part in info.types if not isinstance(part, inspect.NoneType)]
        if len(others) == 1:
            return _or_none(self.of(others[0]))
        structs = {_class_of(part): self._struct(part) for part in others if isinstance(part, inspect.StructType)}
        if len(structs) < len(others):
            return _never
        may_be_none = info.includes_none
        return lambda value: may_be_none if value is None else structs.get(type(value), _never)(value)

    def _struct(self, info: inspect.StructType) -> Test:
        kind = _class_of(info)
        known = self._structs.get(info.cls)
        if known is not None:
            return known
        if not _is_plain(kind, info) or hasattr(kind, "__post_init__"):
            return _never

        def test_within(value: Any) -> bool:
            return test(value)

        self._structs[info.cls] = test_within
        tests = [self.of(field.type) for field in info.fields]
        test = self._structs[info.cls] = _fields(kind, [field.name for field in info.fields], tests)
        return test


def _or_none(test: Test) -> Test:
    return test if test is _never else lambda value: value is None or test(value)


def _class_of(info: inspect.StructType) -> type[msgspec.Struct]:
    """The class of the values, also for a generic struct of certain types."""
    kind: type[msgspec.Struct] = get_origin(info.cls) or info.cls
    return kind


def _is_plain(kind: type[msgspec.Struct], info: inspect.StructType) -> bool:
    """Whether a struct is read back from all its fields, and compared by all of them."""
    config = kind.__struct_config__
    omits_more_than_none = config.omit_defaults and any(field.default is not None for field in info.fields)
    return bool(config.eq) and not omits_more_than_none and kind.__eq__ is msgspec.Struct.__eq__


def _fields(kind: type[Any], names: list[str], tests: list[Test]) -> Test:
    """The test of a struct's class and fields."""
    if _never in tests:
        return _never
    if not names:
        return lambda value: type(value) is kind
    if len(names) == 1:
        get, (test,) = attrgetter(*names), tests
        return lambda value: type(value) is kind and test(get(value))
    get = attrgetter(*names)

    def test_all(value: Any) -> bool:
        if type(value) is not kind:
            return False
        for test, part in zip(tests, get(value), strict=True):  # noqa: SIM110 — a generator would take twice as long
            if not test(part):
                return False
        return True

    return test_all


def _literal(values: tuple[Any, ...]) -> Test:
    allowed = {(type(value), value) for value in values}
    return lambda value: (type(value), value) in allowed


def _scalar(kind: type[Any]) -> Test:
    """The test of a class of the toolkit's own, or of one that only says what is allowed."""
    if kind is Money or kind is Currency:
        return lambda value: type(value) is kind
    if issubclass(kind, Id) and _is_made_like(kind, Id, Id.__new__):
        matches = kind._matches  # `new()` makes a UUID whatever the class's pattern says
        # The id may be of a narrower class than the annotation, like a user's id where any id is allowed.
        return lambda value: isinstance(value, kind) and _is_usual(type(value)) and matches(value) is not None
    if issubclass(kind, Text) and _is_made_like(kind, Text, Text.__new__, Name.__new__):
        return lambda value: type(value) is kind
    return _never


@cache
def _is_usual(kind: type[Id]) -> bool:
    """Whether ids of a class are written and compared like all others."""
    return kind.encode_value is Id.encode_value and kind.__eq__ is str.__eq__


def _is_made_like(kind: Any, base: Any, *constructors: Any) -> bool:
    """Whether a class of texts is made, compared, written and read by the toolkit's own methods."""
    return (
        kind.__new__ in constructors
        and kind.__eq__ is str.__eq__
        and kind.encode_value is base.encode_value
        and kind.decode_value.__func__ is base.decode_value.__func__
    )
