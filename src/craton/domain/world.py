"""Time and chance: what a program can't compute. Nothing else asks the machine for them.

A test may put another world in the machine's place, with a clock that it turns and with chance that it can repeat.
"""

import base64
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TypeVar


class World:
    """The machine's clocks and its chance; the base of every other world."""

    def now(self) -> datetime:
        """The time of day, in UTC."""
        return datetime.now(UTC)

    def milliseconds(self) -> int:
        """The time of day, in milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds on a clock that nobody sets; only differences mean something."""
        return time.monotonic()

    def random_bytes(self, count: int) -> bytes:
        """Bytes that nobody can guess."""
        return os.urandom(count)

    def random(self) -> float:
        """A number from 0 to 1, for jitter. It is no secret."""
        return random.random()


W = TypeVar("W", bound=World)


class _Current:
    world = World()


def current() -> World:
    """The world that this process lives in."""
    return _Current.world


def now() -> datetime:
    """The time of day, in UTC."""
    return _Current.world.now()


def milliseconds() -> int:
    """The time of day, in milliseconds since 1970."""
    return _Current.world.milliseconds()


def monotonic() -> float:
    """Seconds on a clock that nobody sets; only differences mean something."""
    return _Current.world.monotonic()


def random_bytes(count: int) -> bytes:
    """Bytes that nobody can guess."""
    return _Current.world.random_bytes(count)


def random_text(byte_count: int) -> str:
    """So many bytes that nobody can guess, as text that fits in a URL."""
    return base64.urlsafe_b64encode(random_bytes(byte_count)).decode().rstrip("=")


def jitter(most: float) -> float:
    """A number from 0 to `most`, so that several that wait don't all go on at the same moment."""
    return _Current.world.random() * most


@contextmanager
def replaced_by(world: W) -> Iterator[W]:
    """Have the whole process live in another world while the block lasts. For tests."""
    before, _Current.world = _Current.world, world
    try:
        yield world
    finally:
        _Current.world = before
