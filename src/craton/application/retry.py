"""How often something is tried again."""

from datetime import timedelta

import msgspec


def seconds(count: float) -> timedelta:
    """This many seconds."""
    return timedelta(seconds=count)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """How often something with an unknown outcome is tried; the pauses double up to `longest`."""

    attempts: int = 5
    pause: timedelta = seconds(0.2)
    longest_pause: timedelta = seconds(30)

    def pause_after(self, attempt: int) -> timedelta:
        """The pause after attempt number `attempt`, counted from 1."""
        doublings = min(attempt - 1, 30)
        return min(self.pause * (1 << doublings), self.longest_pause)
