"""Secrets: texts that are never shown."""

import hmac
from typing import Any, ClassVar, Self


class Secret:
    """A password, a key, a token. Only `reveal()` returns the text: log lines, errors and tracebacks never show it.

    A command's answer that holds a secret isn't kept under its idempotency key, and secrets aren't part of a request's
    fingerprint. Raises `ValueError` when the text is longer than `limit` characters.
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
