"""Finds the line of the route table for a request."""

from collections.abc import Iterable
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

    def find(self, parts: list[str], wanted: str, at: int = 0) -> Line | None:
        """The line for a path and a method; `/transfers/batch` comes before `/transfers/{transfer}`."""
        if at == len(parts):
            return self.lines.get(wanted)
        part = parts[at]
        literal = self.literal.get(part)
        found = None if literal is None else literal.find(parts, wanted, at + 1)
        if found is None and self.parameter is not None and part:
            return self.parameter.find(parts, wanted, at + 1)
        return found

    def methods(self, parts: list[str], at: int = 0) -> set[str]:
        """The methods of all lines for a path."""
        if at == len(parts):
            return set(self.lines)
        nodes = [self.literal.get(parts[at]), self.parameter if parts[at] else None]
        return set[str]().union(*(node.methods(parts, at + 1) for node in nodes if node is not None))


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
        line = self._root.find(parts, "GET" if method == "HEAD" else method)
        if line is None:
            return None, {}
        named = zip(line.path.split("/"), parts, strict=True)
        return line, {name[1:-1]: part for name, part in named if name.startswith("{")}

    def methods(self, path: str) -> list[str]:
        """The methods that a path supports."""
        methods = self._root.methods(path.split("/", MAX_PARTS))
        return sorted(methods | ({"HEAD"} if "GET" in methods else set()))
