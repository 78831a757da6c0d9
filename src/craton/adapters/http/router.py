"""Finds the line of the route table for a request."""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from starlette.types import ASGIApp

from craton.application.errors import WiringError

MAX_PARTS: Final = 32


class Line(msgspec.Struct, frozen=True):
    """A method and a path of the route table, with its endpoint."""

    owner: str
    """The module that the line belongs to."""
    method: str
    path: str
    endpoint: ASGIApp
    may_be_stored: bool = False
    """Whether a browser may store the answer, and ask each time whether it is still valid."""


class _Node:
    """The paths with the same beginning, by their next part."""

    def __init__(self) -> None:
        self.literal: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.lines: dict[str, Line] = {}

    def grow(self, part: str) -> "_Node":
        if not part.startswith("{"):
            return self.literal.setdefault(part, _Node())
        if self.parameter is None:
            self.parameter = _Node()
        return self.parameter

    def find(self, parts: list[str], at: int = 0) -> Iterator["_Node"]:
        """Yield all that match; `/transfers/batch` comes before `/transfers/{transfer}`."""
        if at == len(parts):
            if self.lines:
                yield self
            return
        literal = self.literal.get(parts[at])
        if literal is not None:
            yield from literal.find(parts, at + 1)
        if self.parameter is not None and parts[at]:
            yield from self.parameter.find(parts, at + 1)


class Router:
    """All lines, found by method and path. Raises `WiringError` for two lines that are the same."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._root = _Node()
        for line in lines:
            node = self._root
            for part in line.path.split("/"):
                node = node.grow(part)
            if line.method in node.lines:
                other = node.lines[line.method]
                raise WiringError(
                    f"{line.method} {line.path} stands in the route tables twice: in {other.owner} "
                    f"(as {other.path}) and in {line.owner}"
                )
            node.lines[line.method] = line

    def find(self, method: str, path: str) -> tuple[Line | None, dict[str, str]]:
        """Return the line, and the values of its path parameters. HEAD is answered by the line for GET."""
        parts = path.split("/", MAX_PARTS)
        wanted = "GET" if method == "HEAD" else method
        for node in self._root.find(parts):
            line = node.lines.get(wanted)
            if line is not None:
                named = zip(line.path.split("/"), parts, strict=True)
                return line, {name[1:-1]: part for name, part in named if name.startswith("{")}
        return None, {}

    def methods(self, path: str) -> list[str]:
        """The methods that a path supports."""
        methods = {method for node in self._root.find(path.split("/", MAX_PARTS)) for method in node.lines}
        return sorted(methods | ({"HEAD"} if "GET" in methods else set()))
