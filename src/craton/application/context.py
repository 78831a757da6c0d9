"""What travels with every call: who asks, until when, under which key, in which conversation."""

import time
from contextvars import ContextVar
from typing import Final

import msgspec

from craton.application.errors import DeadlineExceeded
from craton.domain import uuid7


class Precondition(msgspec.Struct, frozen=True):
    """The version that the caller has seen of one aggregate (HTTP's If-Match)."""

    subject: str
    version: int


class Context(msgspec.Struct, frozen=True, kw_only=True):
    actor: str | None = None
    tenant: str | None = None
    key: str | None = None
    """Idempotency key: a repeated command with the same key gives the same result and no second effect."""
    deadline: float | None = None
    """On the clock of `time.monotonic()`, in seconds."""
    id: str = msgspec.field(default_factory=uuid7)
    correlation: str | None = None
    causation: str | None = None
    positions: dict[str, int] = {}
    """How far the views of each module must have got before a query reads them."""
    precondition: Precondition | None = None

    def remaining(self) -> float | None:
        """Return the seconds left. Raises `DeadlineExceeded` when there are none."""
        if self.deadline is None:
            return None
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise DeadlineExceeded("The deadline was over before the work began.", maybe_executed=False)
        return seconds


_NOBODY: Final = Context(id="")
context_var: ContextVar[Context] = ContextVar("craton_context", default=_NOBODY)


def context() -> Context:
    """Return the context of the call that is running; outside of one, a fresh one of nobody."""
    current = context_var.get()
    return Context() if current is _NOBODY else current
