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


class Caller(msgspec.Struct, frozen=True):
    """Somebody outside who has proved who he is."""

    id: str
    roles: frozenset[str]

    def has(self, roles: frozenset[str]) -> bool:
        return not self.roles.isdisjoint(roles)


class Effect:
    """Gives each command of a policy or of a saga's step a key of its own: the same one each time it is tried.

    A command that was refused for good and is wanted again needs a new key, and with it those behind it: `refused`
    holds the numbers of the commands that were. With `settles`, commands are only asked what came of them.
    """

    def __init__(self, key: str, refused: tuple[int, ...] = (), *, settles: bool = False, first: bool = False) -> None:
        self.name = key
        self.settles = settles
        self.first = first
        self.done = 0
        """How many of the commands have succeeded."""
        self._refused = refused
        self._given = 0

    def next_key(self) -> str:
        self._given += 1
        again = sum(number <= self._given for number in self._refused)
        return f"{self.name}/{self._given}.{again}" if again else f"{self.name}/{self._given}"


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
    key_is_new: bool = False
    """A hint that nobody has used the key yet, so that it needn't be looked up before the commit finds out."""
    settles: bool = False
    """Answer with what came of the command with this key; if it hasn't run, see to it that it never will."""
    caller: Caller | None = None
    """Who calls from outside; None for what the application itself does. It doesn't pass on."""
    effect: Effect | None = None
    """Where the commands that are given from here get their keys. It doesn't pass on to what they call in turn."""

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
