"""The head of a request, read once: the token, the key, the conditions, and what the caller has seen."""

import re
from functools import cached_property
from typing import Final, Literal

from starlette.types import Scope

from craton.adapters.addresses import address_of
from craton.adapters.callers import bearer_token, is_client_key
from craton.adapters.http.problems import BadRequest
from craton.application.command_keys import CommandKey
from craton.runtime.commands.use_cases import MAX_KEY_LENGTH

MAX_POSITIONS: Final = 50

_HEAD: Final = "craton.head"
_TAG: Final = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS: Final = re.compile(rf"[ \t,]*{_TAG}(?:[ \t]*,[ \t,]*{_TAG})*[ \t,]*").fullmatch
_EACH: Final = re.compile(_TAG).findall
_VERSION: Final = re.compile(r'"(0|[1-9][0-9]{0,17})"', re.ASCII).fullmatch

Tags = tuple[str, ...] | Literal["*"]


class RequestHead:
    """What a request's headers say. What is malformed is refused when it is asked for: `BadRequest`."""

    def __init__(self, scope: Scope) -> None:
        self.raw = scope["headers"]
        client = scope.get("client")
        self.address = address_of(client[0]) if client else ""
        """Where it comes from; empty if that isn't known."""
        self._values: dict[bytes, bytes] = {}
        self._repeated: set[bytes] = set()
        for name, value in self.raw:
            if name in self._values:
                self._repeated.add(name)
            self._values[name] = value

    def get(self, name: bytes) -> str | None:
        """A header, None if it isn't there. Raises `BadRequest` if it is there twice."""
        if name in self._repeated:
            raise BadRequest(400, "malformed-header", f"The header {name.decode()} is there twice.")
        value = self._values.get(name)
        return None if value is None else value.decode("latin-1")

    @cached_property
    def token(self) -> str | None:
        """The access token, None if there is none. Raises `Unauthenticated` for what isn't one."""
        return bearer_token(self.get(b"authorization"))

    @property
    def command_key(self) -> CommandKey | None:
        """The Idempotency-Key, None if there is none."""
        key = self.get(b"idempotency-key")
        if key is None:
            return None
        if not is_client_key(key):
            raise BadRequest(
                400,
                "malformed-header",
                f"Idempotency-Key must have 1 to {MAX_KEY_LENGTH} printable ASCII characters.",
            )
        return CommandKey(key)

    @property
    def positions(self) -> dict[str, int]:
        """What Craton-Position says that views must have got to: `ledger=42, ordering=7`."""
        text = self.get(b"craton-position")
        if not text:
            return {}
        positions: dict[str, int] = {}
        for part in text.split(",")[:MAX_POSITIONS]:
            module, _, position = part.strip().partition("=")
            if not module or not position.isascii() or not position.isdigit() or len(position) > 18:
                raise BadRequest(400, "malformed-header", "Craton-Position must be such as ledger=42.")
            positions[module] = int(position)
        return positions

    @property
    def media_type(self) -> str:
        """Of the body, without parameters; empty if nothing says it."""
        return (self.get(b"content-type") or "").partition(";")[0].strip().lower()

    @property
    def accepts_json_alone(self) -> bool:
        """Whether the client is a script that wants JSON and nothing else."""
        accepted = [value.strip().lower() for name, value in self.raw if name == b"accept"]
        return accepted == [b"application/json"]

    @property
    def wanted_versions(self) -> frozenset[int] | Literal["*"] | None:
        """The versions that If-Match lists (RFC 9110, section 13); None if it isn't there.

        What is marked as weak, or is no version, is a tag that nothing has.
        """
        tags = self._tags("if-match")
        if tags is None or tags == "*":
            return tags
        return frozenset(int(version[1]) for tag in tags if (version := _VERSION(tag)))

    def knows(self, tag: str) -> bool:
        """Whether If-None-Match lists what is there, so that the caller needn't be sent it again."""
        tags = self._tags("if-none-match")
        return tags is not None and (tags == "*" or tag in (known.removeprefix("W/") for known in tags))

    def _tags(self, name: str) -> Tags | None:
        said = self.get(name.encode())
        if said is None:
            return None
        if said.strip(" \t") == "*":
            return "*"
        if not _TAGS(said):
            raise BadRequest(
                400, "malformed-header", f'{name} must hold tags as they stood in ETag, such as "3", or *.'
            )
        return tuple(_EACH(said))


def etag(version: int) -> str:
    """The tag of a version."""
    return f'"{version}"'


def head_of(scope: Scope) -> RequestHead:
    """The head of a request. It is read once; and again if middleware has put other headers in its place."""
    head: RequestHead | None = scope.get(_HEAD)
    if head is None or head.raw is not scope["headers"]:
        head = scope[_HEAD] = RequestHead(scope)
    return head
