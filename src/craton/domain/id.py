"""Identifiers. A typed id is a string that can't be taken for another type's id."""

import os
import re
import struct
from collections.abc import Iterator
from typing import Any, ClassVar, Self
from uuid import NAMESPACE_URL, uuid5

from craton.domain import world

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


class _Source:
    """The last millisecond in which an id was made, the counter within it, and a supply of random numbers."""

    millisecond = 0
    prefix = ""
    """The text of the millisecond."""
    counter = 0
    random: Iterator[tuple[int, str]] = iter(())
    """Numbers below 2048, and the last parts of ids. Many are drawn from the system at once, because each system call
    costs more than all the rest."""
    drawn_in: world.World | None = None
    """The world in which they were drawn."""


def _refill() -> tuple[int, str]:
    first, *others = [_random_parts(number) for number in struct.unpack("512Q", world.random_bytes(8 * 512))]
    _Source.random = iter(others)
    return first


def _random_parts(number: int) -> tuple[int, str]:
    text = f"{number & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000:016x}"
    return number >> 53 & 0x7FF, f"-{text[:4]}-{text[4:]}"


def _forget() -> None:
    _Source.random = iter(())


os.register_at_fork(after_in_child=_forget)


def uuid7() -> str:
    """Return a new UUIDv7 (RFC 9562, method 1). The ids of one process sort in the order in which they were made."""
    now = world.milliseconds()
    if _Source.drawn_in is not world.current():
        _forget()
        _Source.drawn_in, _Source.millisecond = world.current(), 0
    start, tail = next(_Source.random, None) or _refill()
    if now > _Source.millisecond:
        _begin_millisecond(now, start)
    elif _Source.counter == 0xFFF:
        _begin_millisecond(_Source.millisecond + 1, 0)
    else:
        _Source.counter += 1
    return f"{_Source.prefix}-7{_Source.counter:03x}{tail}"


def _begin_millisecond(millisecond: int, counter: int) -> None:
    text = f"{millisecond:012x}"
    _Source.millisecond, _Source.prefix, _Source.counter = millisecond, f"{text[:8]}-{text[8:]}", counter


class Id(str):
    """The id of an aggregate: a UUID, unless a subclass gives another `pattern`.

    `class OrderId(Id): ...` makes a type of its own. `OrderId.new()` is a fresh id; `ShipmentId.derived(order)` is
    always the same for the same order; `OrderId(text)` reads an id and raises `ValueError` when the text isn't one.
    """

    __slots__ = ()

    pattern: ClassVar[str] = _UUID
    example: ClassVar[str] = ""
    """The example that documentation shows; a UUID needs none."""
    namespace: ClassVar[str]
    """Keeps derived ids of different classes apart: the class's name unless given. Stored ids depend on it, so a class
    that is renamed keeps the old name here."""
    json_schema: ClassVar[dict[str, Any]] = {"type": "string", "format": "uuid"}
    _matches: ClassVar[Any] = re.compile(_UUID).fullmatch

    def __init_subclass__(cls) -> None:
        if "namespace" not in cls.__dict__:
            cls.namespace = cls.__name__
        cls._matches = re.compile(cls.pattern).fullmatch
        if cls.pattern != _UUID:
            cls.json_schema = {"type": "string", "pattern": f"^(?:{cls.pattern})$"}

    def __new__(cls, text: str) -> Self:
        if not cls._matches(text):
            raise ValueError(f"{text[:64]!r} is not a valid {cls.__name__}")
        return super().__new__(cls, text)

    @classmethod
    def new(cls) -> Self:
        """Return an id that is not in use yet; ids that are made later sort later."""
        return str.__new__(cls, uuid7())

    @classmethod
    def derived(cls, *parts: str) -> Self:
        """Return the id that belongs to these parts: a UUIDv5 (RFC 9562) of the class's namespace and the parts."""
        return cls(str(uuid5(NAMESPACE_URL, ":".join((cls.namespace, *map(_without_separator, parts))))))

    encode_value = str.__str__

    @classmethod
    def decode_value(cls, wire: Any) -> Self:
        if type(wire) is not str:
            raise ValueError(f"a {cls.__name__} is a string")
        return cls(wire)


def _without_separator(part: str) -> str:
    """The part in a form in which the parts of two different ids never make the same text."""
    return part.replace("\\", "\\\\").replace(":", "\\:")
