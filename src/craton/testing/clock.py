"""A clock that stands still until a test turns it."""

from datetime import UTC, datetime, timedelta
from typing import Final

START: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)


class TurnedClock:
    """The time of an app in a test. `turn(hours=1)` turns it on; it never goes back."""

    __test__ = False

    def __init__(self, time: datetime = START) -> None:
        self.time = time

    def __call__(self) -> datetime:
        return self.time

    def turn(self, **duration: float) -> datetime:
        """Turn it forwards by a duration, given as to `timedelta`, and return the new time."""
        by = timedelta(**duration)
        if by < timedelta():
            raise ValueError("a clock is only turned forwards")
        self.time += by
        return self.time
