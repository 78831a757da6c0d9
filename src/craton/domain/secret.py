"""Secrets: texts that are never shown."""

import hmac
from typing import Any, ClassVar, Self


class Secret:
    """A password, a key, a token. Only `reveal()` gives it away: no log line, error or traceback shows it.

    A command's answer that holds one isn't kept under its idempotency key, and what a request holds of them isn't
    part of its fingerprint. Raises `ValueError` when it is longer than `limit` characters.
    """

    __slots__ = ("_text",)

    limit: ClassVar[int] = 5_000
    json_schema: ClassVar[dict[str, Any]] = {"type": "string", "format": "password", "maxLength": limit}

    def __init__(self, text: str) -> None:
        if len(text) > self.limit:
            raise ValueError(f"the secret has more than {self.limit} characters")
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def encode_value(self) -> str:
        return self._text

    @classmethod
    def decode_value(cls, wire: Any) -> Self:
        if type(wire) is not str:
            raise ValueError("expected a text")
        return cls(wire)
