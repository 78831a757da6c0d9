"""Text that people typed: stripped, bounded, and in one Unicode form, so that texts that look equal are equal."""

from typing import Any, ClassVar, Final, Self
from unicodedata import category, normalize

_INVISIBLE: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters and marks that are invisible; the other invisible characters belong to the categories below."""
_NO_CHARACTERS: Final = frozenset(("Cc", "Cf", "Zl", "Zp"))
_VISIBLE: Final = frozenset("LNPS")


def _holds_half_a_pair(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


class Text(str):
    """Text without white space around it, with at most `limit` characters, in Unicode's form NFC. Blank text is empty.

    Raises `ValueError` for a longer text, or one with characters that no store can keep (NUL, half a surrogate pair).
    """

    __slots__ = ()

    limit: ClassVar[int] = 5_000
    json_schema: ClassVar[dict[str, Any]] = {"type": "string", "maxLength": limit}

    def __init_subclass__(cls) -> None:
        cls.json_schema = {"type": "string", "maxLength": cls.limit}

    def __new__(cls, text: str) -> Self:
        stripped = (text if text.isascii() else normalize("NFC", text)).strip()
        if len(stripped) > cls.limit:
            raise ValueError(f"the text has {len(stripped)} characters; at most {cls.limit} are allowed")
        if "\0" in stripped or _holds_half_a_pair(stripped):
            raise ValueError("the text holds a character that can't be stored")
        return super().__new__(cls, stripped)

    encode_value = str.__str__

    @classmethod
    def decode_value(cls, wire: Any) -> Self:
        if type(wire) is not str:
            raise ValueError("expected a text")
        return cls(wire)


class Name(Text):
    """A name: text of at most 200 characters, all of them visible. Raises `ValueError`."""

    __slots__ = ()

    limit = 200

    def __new__(cls, text: str) -> Self:
        name = super().__new__(cls, text)
        if name.isascii():
            if not name.isprintable():
                raise ValueError("a name holds no line breaks or other control characters")
        elif any(character in _INVISIBLE or category(character) in _NO_CHARACTERS for character in name):
            raise ValueError("a name holds no control characters and none that can't be seen")
        elif not any(category(character)[0] in _VISIBLE for character in name):
            raise ValueError("a name holds something that can be seen")
        return name
