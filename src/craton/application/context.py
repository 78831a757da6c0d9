"""What travels with every call: its caller, deadline, idempotency key, and the conversation it belongs to."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import msgspec

from craton.application.command_keys import CommandKey, CommandKeys
from craton.application.errors import DeadlineExceeded, MisuseError
from craton.domain import uuid7, world


class Precondition(msgspec.Struct, frozen=True):
    """The versions of an aggregate that the caller accepts (HTTP's If-Match)."""

    subjects: tuple[Any, ...]
    """The ids that may name the aggregate, each of its own type; the last one that fits counts."""
    versions: frozenset[int] | None
    """The accepted versions; None: any version, but the aggregate must exist."""


class Caller(msgspec.Struct, frozen=True):
    """A caller from outside that has proved an identity, or a stranger that hasn't."""

    id: str
    """Empty for a stranger."""
    roles: frozenset[str]
    session: str = ""
    """The caller's session, if the application distinguishes sessions."""

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
    """The positions that the views of each module must have reached before a query reads them."""
    precondition: Precondition | None = None
    caller: Caller | None = None
    """The caller from outside, perhaps a stranger; None for the application's own calls. It isn't passed on."""
    address: str = ""
    """The caller's network address; for IPv6 the network of 64 bits. Empty if it isn't known."""
    command_keys: CommandKeys | None = None
    """Gives keys to the commands that are called here. Commands that those call in turn don't inherit it."""

    def remaining(self) -> float | None:
        """Return the seconds left. Raises `DeadlineExceeded` when there are none."""
        if self.deadline is None:
            return None
        seconds = self.deadline - world.monotonic()
        if seconds <= 0:
            raise DeadlineExceeded("The deadline passed before the work began.", maybe_executed=False)
        return seconds


_NOBODY: Final = Context(id="")
context_var: ContextVar[Context] = ContextVar("craton_context", default=_NOBODY)


def context() -> Context:
    """Return the context of the running call; outside of a call, a fresh one without a caller."""
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
    """Derive the keys of commands in the block from this key, so that a repeated message has no second effect.

    For handlers of messages from outside that have an id of their own, such as webhooks. Refusals aren't kept, because
    the same message may be accepted later. Raises `MisuseError` in a policy or a saga's step, which have keys already.
    """
    if context().command_keys is not None:
        raise MisuseError(
            f"once({key!r}) is used within {context().command_keys}, which gives commands their keys already"
        )
    with entered(msgspec.structs.replace(context(), command_keys=CommandKeys(key, keeps_refusals=False))):
        yield
