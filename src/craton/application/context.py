"""What travels with every call: who asks, until when, under which key, in which conversation."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import msgspec

from craton.application.errors import DeadlineExceeded, MisuseError
from craton.domain import DomainError, uuid7


class Precondition(msgspec.Struct, frozen=True):
    """The versions in which the caller takes one aggregate (HTTP's If-Match)."""

    subjects: tuple[Any, ...]
    """Ids, of their types, of which one is the aggregate's; of several the last."""
    versions: frozenset[int] | None
    """One of these; None: any, as long as there is one."""


class Caller(msgspec.Struct, frozen=True):
    """Somebody outside who has proved who he is, or a stranger, who hasn't."""

    id: str
    """Empty: he is a stranger."""
    roles: frozenset[str]
    session: str = ""
    """Which of his sessions it is in which he calls, if the application tells them apart."""

    @property
    def is_stranger(self) -> bool:
        return not self.id

    def has(self, roles: frozenset[str]) -> bool:
        return not self.roles.isdisjoint(roles)


class Effect:
    """Gives each command of a policy or of a saga's step a key of its own: the same one each time it is tried.

    A key is made of the command's name and how many of that name came before, so that what is asked on the way doesn't
    change it. A command that was refused for good and is wanted again (it is in `refused`) gets a new one.
    `settles`: commands are only asked what came of them. `first`: most likely none of the keys was used before.
    `keeps_refusals`: a refusal is the answer to the key for good. Clients can't make such keys: theirs are ASCII.
    """

    def __init__(
        self,
        name: str,
        refused: tuple[str, ...] = (),
        *,
        settles: bool = False,
        first: bool = False,
        keeps_refusals: bool = True,
    ) -> None:
        self.name = name
        self.settles = settles
        self.first = first
        self.keeps_refusals = keeps_refusals
        self._refused = Counter(refused)
        self._given: list[str] = []
        self._running = False
        self._refusal: tuple[str, DomainError] | None = None

    def __str__(self) -> str:
        return self.name

    @contextmanager
    def command(self, operation: str) -> Iterator[str]:
        """The key of the next command, which is given within the block. Raises `MisuseError` for one beside another."""
        if self._running:
            raise MisuseError(
                f"{self.name} gives {operation} while another command runs; give one after the other, "
                f"or make steps of their own that run side by side"
            )
        before = sum(given.startswith(f"{operation}#") for given in self._given)
        label = f"{operation}#{before + 1}"
        again = self._refused[label]
        self._given.append(label)
        self._running = True
        try:
            yield f"§{self.name}/{label}" + (f".{again}" if again else "")
        except DomainError as refusal:
            self._refusal = label, refusal
            raise
        finally:
            self._running = False

    @property
    def newest(self) -> str:
        """The name of the command that was given last; "" if none was."""
        return self._given[-1].partition("#")[0] if self._given else ""

    def refused(self, refusal: DomainError) -> str:
        """Which of the commands this refusal came from; "" if it came from none."""
        return self._refusal[0] if self._refusal is not None and self._refusal[1] is refusal else ""

    def nothing_ran(self, refusal: DomainError | None) -> bool:
        """Whether it is certain that no command has run: the first one was refused, and that was all."""
        return refusal is not None and len(self._given) == 1 and self.refused(refusal) != ""


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
    keeps_refusals: bool = True
    """Whether a refusal is the answer to the key for good."""
    settles: bool = False
    """Answer with what came of the command with this key; if it hasn't run, see to it that it never will."""
    caller: Caller | None = None
    """Who calls from outside, perhaps a stranger; None for what the application itself does. It doesn't pass on."""
    address: str = ""
    """Where he calls from: his address on the network, of IPv6 his network of 64 bits. Empty if it isn't known."""
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


@contextmanager
def entered(inner: Context) -> Iterator[None]:
    """Make a context the current one for the block."""
    token = context_var.set(inner)
    try:
        yield
    finally:
        context_var.reset(token)


@contextmanager
def once(key: str) -> Iterator[None]:
    """Give commands keys that are made of this one: a message that comes again has no second effect.

    For handlers of what comes from outside with an id of its own, such as a webhook. A refusal isn't kept: the message
    may come again when it can be heard. Raises `MisuseError` in a policy or a saga's step, which give keys themselves.
    """
    if context().effect is not None:
        raise MisuseError(f"once({key!r}) is used within {context().effect}, which gives commands their keys already")
    with entered(msgspec.structs.replace(context(), effect=Effect(key, keeps_refusals=False))):
        yield
