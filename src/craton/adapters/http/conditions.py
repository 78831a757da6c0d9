"""If-Match and If-None-Match (RFC 9110, section 13)."""

import re
from typing import Final, Literal

from starlette.types import Scope

from craton.adapters.http.body import header
from craton.adapters.http.problems import BadRequest

_TAG: Final = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS: Final = re.compile(rf"[ \t,]*{_TAG}(?:[ \t]*,[ \t,]*{_TAG})*[ \t,]*").fullmatch
_EACH: Final = re.compile(_TAG).findall
_VERSION: Final = re.compile(r'"(0|[1-9][0-9]{0,17})"', re.ASCII).fullmatch

Tags = tuple[str, ...] | Literal["*"]


def etag(version: int) -> str:
    return f'"{version}"'


def wanted_versions(scope: Scope) -> frozenset[int] | Literal["*"] | None:
    """The versions that If-Match lists; None if the header is missing. Raises `BadRequest`.

    A tag that is weak, or isn't a version, matches nothing.
    """
    tags = _tags(scope, "if-match")
    if tags is None or tags == "*":
        return tags
    return frozenset(int(version[1]) for tag in tags if (version := _VERSION(tag)))


def is_known(scope: Scope, tag: str) -> bool:
    """Whether If-None-Match lists this tag, so that the answer needn't be sent again. Raises `BadRequest`."""
    tags = _tags(scope, "if-none-match")
    return tags is not None and (tags == "*" or tag in (known.removeprefix("W/") for known in tags))


def _tags(scope: Scope, name: str) -> Tags | None:
    said = header(scope, name.encode())
    if said is None:
        return None
    if said.strip(" \t") == "*":
        return "*"
    if not _TAGS(said):
        raise BadRequest(400, "malformed-header", f'{name} must hold tags from ETag headers, such as "3", or *.')
    return tuple(_EACH(said))
