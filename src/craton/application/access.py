"""Guards: which callers from outside a route admits. A route table names one for each route; the default is closed."""

from typing import Any, Final

import msgspec

from craton.application.context import Caller, context
from craton.domain import AccessDenied, Unauthenticated

STRANGER: Final = Caller("", frozenset())
"""A caller from outside that hasn't proved an identity."""


class Access(msgspec.Struct, frozen=True):
    """A guard. Made by `public`, `signed_in`, `only(…)` and `own(…)`."""

    public: bool = False
    roles: frozenset[str] | None = None
    """A caller with one of these roles is admitted; None: every caller that is signed in."""
    owner: str | None = None
    """The parameter that admits the caller, whatever its roles, when it holds the caller's own id."""

    def admit(self, caller: Caller) -> None:
        """Check the caller before the request is read. Raises `Unauthenticated` or `AccessDenied`."""
        if self.public:
            return
        if caller.is_stranger:
            raise Unauthenticated()
        if self.roles is not None and self.owner is None and not caller.has(self.roles):
            raise AccessDenied()

    def admit_to(self, caller: Caller, arguments: dict[str, Any]) -> None:
        """Check the caller once the arguments are known. Raises `AccessDenied`."""
        if self.owner is None or self.roles is None:
            return
        if arguments[self.owner] != caller.id and not caller.has(self.roles):
            raise AccessDenied()


public = Access(public=True)
signed_in = Access()


def only(*roles: str) -> Access:
    """Admit only callers with one of the roles."""
    return Access(roles=frozenset(roles))


def own(parameter: str, *roles: str) -> Access:
    """Admit the caller whose own id the parameter holds, and callers with one of the roles."""
    return Access(roles=frozenset(roles), owner=parameter)


def permit(owner: str | None, *roles: str) -> None:
    """Refuse, within a use case, a caller from outside that is neither `owner` nor has one of the roles.

    For what a route can't decide, because the owner must be looked up. Other modules, sagas, policies and timers
    aren't callers from outside. Raises `AccessDenied`, or `Unauthenticated` for a stranger.
    """
    caller = context().caller
    if caller is None:
        return
    if caller.is_stranger:
        raise Unauthenticated()
    if caller.id != owner and not caller.has(frozenset(roles)):
        raise AccessDenied()


def narrow(owner: str | None, *roles: str) -> str | None:
    """Return, within a use case that lists, the owner whose things the caller may see, or None for all owners.

    `owner` is what the caller asks for (None: all). A caller from outside without one of the roles sees only its own
    things: raises `AccessDenied` when it asks for another's, and `Unauthenticated` for a stranger.
    """
    caller = context().caller
    if caller is None or caller.has(frozenset(roles)):
        return owner
    permit(owner or caller.id, *roles)
    return caller.id
