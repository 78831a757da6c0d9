"""Text that people typed: stripped and bounded."""

from typing import Any, ClassVar, Self


class Text(str):
    """Text without white space around it, of at most `limit` characters. Blank means empty.

    Raises `ValueError` when it is longer, or holds what no store can keep (NUL, half a surrogate pair).
    """

    __slots__ = ()

    limit: ClassVar[int] = 5_000
    json_schema: ClassVar[dict[str, Any]] = {"type": "string", "maxLength": limit}

    def __init_subclass__(cls) -> None:
        cls.json_schema = {"type": "string", "maxLength": cls.limit}

    def __new__(cls, text: str) -> Self:
        stripped = text.strip()
        if len(stripped) > cls.limit:
            raise ValueError(f"the text has {len(stripped)} characters; at most {cls.limit} are allowed")
        if "\0" in stripped or any("\ud800" <= character <= "\udfff" for character in stripped):
            raise ValueError("the text holds a character that can't be stored")
        return super().__new__(cls, stripped)

    def encode_value(self) -> str:
        return str(self)

    @classmethod
    def decode_value(cls, wire: Any) -> Self:
        if type(wire) is not str:
            raise ValueError(f"expected a text, got {type(wire).__name__}")
        return cls(wire)


class Name(Text):
    """A name: text of at most 200 characters, on one line. Raises `ValueError` for control characters, too."""

    __slots__ = ()

    limit = 200

    def __new__(cls, text: str) -> Self:
        name = super().__new__(cls, text)
        if any(character < " " or character in "\x7f\x85\u2028\u2029" for character in name):
            raise ValueError("a name holds no line breaks or other control characters")
        return name
