"""What travels with every call: who asks, until when, under which key, in which conversation."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import msgspec

from craton.application.command_keys import CommandKey, CommandKeys
from craton.application.errors import DeadlineExceeded, MisuseError
from craton.domain import uuid7, world


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


class Context(msgspec.Struct, frozen=True, kw_only=True):
    actor: str | None = None
    tenant: str | None = None
    key: CommandKey | None = None
    deadline: float | None = None
    """On the clock of `craton.domain.world.monotonic()`, in seconds."""
    id: str = msgspec.field(default_factory=uuid7)
    correlation: str | None = None
    causation: str | None = None
    positions: dict[str, int] = {}
    """How far the views of each module must have got before a query reads them."""
    precondition: Precondition | None = None
    caller: Caller | None = None
    """Who calls from outside, perhaps a stranger; None for what the application itself does. It doesn't pass on."""
    address: str = ""
    """Where he calls from: his address on the network, of IPv6 his network of 64 bits. Empty if it isn't known."""
    command_keys: CommandKeys | None = None
    """Where the commands that are given from here get their keys. They don't pass on to what is called in turn."""

    def remaining(self) -> float | None:
        """Return the seconds left. Raises `DeadlineExceeded` when there are none."""
        if self.deadline is None:
            return None
        seconds = self.deadline - world.monotonic()
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
    if context().command_keys is not None:
        raise MisuseError(
            f"once({key!r}) is used within {context().command_keys}, which gives commands their keys already"
        )
    with entered(msgspec.structs.replace(context(), command_keys=CommandKeys(key, keeps_refusals=False))):
        yield
