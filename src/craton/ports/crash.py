"""Named crash points: places where the crash harness kills the process, to prove that nothing is lost or half done.

`CRATON_CRASH_AT=commit.written` kills the process with SIGKILL when it first gets there, `…:7` at the seventh time.
"""

import os
import signal
from typing import Final

CRASH_POINTS: Final = {
    "call.decided": "a use case has decided, nothing was handed in",
    "commit.events_written": "events are written in a transaction that is still open",
    "commit.written": "all of a batch is written, the transaction is still open",
    "commit.durable": "a batch is durable, nobody was told",
    "call.committed": "a command is durable, its caller has no answer",
    "subscription.read": "a page of the feed was read, nothing was done with it",
    "subscription.handled": "a page was handled, neither its effects nor the checkpoint are written",
    "subscription.written": "a page's effects and checkpoint are durable",
    "projection.built": "a new generation has caught up and is not swapped in",
    "projection.swapped": "a new generation is live, the oldest one still lies about",
    "lease.taken": "a lease has passed to this process, nothing was done under it",
    "timer.read": "timers that are due were read, none of them has run",
    "policy.reacted": "a policy has reacted to an event, its checkpoint is not written",
    "saga.planned": "a step's intent is durable, nothing was sent",
    "saga.acted": "a step or a compensation has its outcome, which is not recorded",
    "saga.reported": "an outcome and what follows from it are durable, nothing of that has begun",
}


class _Armed:
    point = ""
    countdown = 0


def arm(setting: str | None) -> None:
    """Arm one crash point, as `point` or `point:count`; None or "" disarms. Raises `ValueError` if it is unknown."""
    point, _, count = (setting or "").partition(":")
    if point and point not in CRASH_POINTS:
        raise ValueError(f"there is no crash point {point!r}; there are: {', '.join(CRASH_POINTS)}")
    if count and not (count.isascii() and count.isdigit()):
        raise ValueError(f"the count of a crash point must be a number, not {count!r}")
    _Armed.point = point
    _Armed.countdown = int(count or 1)


def crash_point(point: str) -> None:
    """Kill the process if this point is armed."""
    if _Armed.point == point:
        _Armed.countdown -= 1
        if _Armed.countdown <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def arm_from_environment() -> None:
    """Arm the point that `CRATON_CRASH_AT` names. Raises `ValueError` with a sentence."""
    arm(os.environ.get("CRATON_CRASH_AT"))
