"""A clock that stands still until a test turns it."""

from datetime import UTC, datetime, timedelta
from typing import Final

START: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)


class TurnedClock:
    """The time of an app in a test. `turn(hours=1)` turns it forwards; it never goes back."""

    __test__ = False

    def __init__(self, time: datetime = START) -> None:
        self.time = time

    def __call__(self) -> datetime:
        return self.time

    def turn(self, **duration: float) -> datetime:
        """Turn it forwards by a duration, given as to `timedelta`, and return the new time."""
        return self.turn_to(self.time + timedelta(**duration))

    def turn_to(self, time: datetime) -> datetime:
        """Turn it forwards to a time, and return that."""
        if time < self.time:
            raise ValueError("a clock is only turned forwards")
        self.time = time
        return time
