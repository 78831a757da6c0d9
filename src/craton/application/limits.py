"""How many requests a route admits, in the route table: `post("/v1/login", …, limit=per_minute(20, by="address"))`."""

from typing import Final, Literal

import msgspec

from craton.application.errors import WiringError

By = Literal["address", "caller"]
MINUTE_SECONDS: Final = 60
HOUR_SECONDS: Final = 3_600


class Limit(msgspec.Struct, frozen=True):
    """At most `count` requests in any `seconds`, counted for each address, or for each caller that is signed in.

    Strangers are counted by their address. IPv6 addresses of one network of 64 bits count as one.
    """

    count: int
    seconds: int
    by: By

    def __post_init__(self) -> None:
        if self.count < 1:
            raise WiringError(f"a limit of {self.count} would admit nothing; the least is 1")
        if self.by not in ("address", "caller"):
            raise WiringError(f'a limit counts by="address" or by="caller", not by={self.by!r}')


def per_minute(count: int, *, by: By) -> Limit:
    """At most so many requests in a minute. Raises `WiringError` for a number below 1."""
    return Limit(count, MINUTE_SECONDS, by)


def per_hour(count: int, *, by: By) -> Limit:
    """At most so many requests in an hour. Raises `WiringError` for a number below 1."""
    return Limit(count, HOUR_SECONDS, by)
