"""Time and chance, which a program can't compute. This is the only place that asks the machine for them.

A test may replace the world with another one, whose clock the test sets and whose chance it can repeat.
"""

import base64
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TypeVar


class World:
    """The machine's clocks and its randomness; the base class of all other worlds."""

    def now(self) -> datetime:
        """The time of day, in UTC."""
        return datetime.now(UTC)

    def milliseconds(self) -> int:
        """The time of day, in milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    monotonic: Callable[[], float] = staticmethod(time.monotonic)
    """Seconds on a clock that can't be set; only differences have a meaning."""

    def random_bytes(self, count: int) -> bytes:
        """Bytes that can't be guessed."""
        return os.urandom(count)

    def random(self) -> float:
        """A number from 0 to 1, for jitter. It isn't secret."""
        return random.random()


W = TypeVar("W", bound=World)


class _Current:
    world = World()


def current() -> World:
    """The world of this process."""
    return _Current.world


def now() -> datetime:
    """The time of day, in UTC."""
    return _Current.world.now()


def milliseconds() -> int:
    """The time of day, in milliseconds since 1970."""
    return _Current.world.milliseconds()


def monotonic() -> float:
    """Seconds on a clock that can't be set; only differences have a meaning."""
    return _Current.world.monotonic()


def random_bytes(count: int) -> bytes:
    """Bytes that can't be guessed."""
    return _Current.world.random_bytes(count)


def random_text(byte_count: int) -> str:
    """This number of bytes that can't be guessed, as text that fits in a URL."""
    return base64.urlsafe_b64encode(random_bytes(byte_count)).decode().rstrip("=")


def jitter(most: float) -> float:
    """A number from 0 to `most`, so that several waiting tasks don't all continue at the same moment."""
    return _Current.world.random() * most


@contextmanager
def replaced_by(world: W) -> Iterator[W]:
    """Replace the world of the whole process while the block lasts. For tests."""
    before, _Current.world = _Current.world, world
    try:
        yield world
    finally:
        _Current.world = before
