"""Who may call what from outside. A route table names a guard for each of its routes; the default is closed."""

from typing import Any, Final

import msgspec

from craton.application.context import Caller, context
from craton.domain import AccessDenied, Unauthenticated

STRANGER: Final = Caller("", frozenset())
"""Somebody outside who hasn't said who he is."""


class Access(msgspec.Struct, frozen=True):
    """A guard. Made by `public`, `signed_in`, `only(…)` and `own(…)`."""

    public: bool = False
    roles: frozenset[str] | None = None
    """Who has one of them may; None: everybody who is signed in."""
    owner: str | None = None
    """The parameter that, when it is the caller's own id, opens the route to him whatever his roles."""

    def admit(self, caller: Caller) -> None:
        """Before the request is read. Raises `Unauthenticated` or `AccessDenied`."""
        if self.public:
            return
        if caller.is_stranger:
            raise Unauthenticated()
        if self.roles is not None and self.owner is None and not caller.has(self.roles):
            raise AccessDenied()

    def admit_to(self, caller: Caller, arguments: dict[str, Any]) -> None:
        """When it is known what he asks for. Raises `AccessDenied`."""
        if self.owner is None or self.roles is None:
            return
        if arguments[self.owner] != caller.id and not caller.has(self.roles):
            raise AccessDenied()


public = Access(public=True)
signed_in = Access()


def only(*roles: str) -> Access:
    """Only who has one of the roles."""
    return Access(roles=frozenset(roles))


def own(parameter: str, *roles: str) -> Access:
    """Only he whose id the parameter is, and who has one of the roles."""
    return Access(roles=frozenset(roles), owner=parameter)


def permit(owner: str | None, *roles: str) -> None:
    """In a use case: refuse a caller from outside who is neither `owner` nor has one of the roles.

    For what a route can't tell, because it must be looked up whose it is. Other modules, sagas, policies and timers are
    not from outside. Raises `AccessDenied`, or `Unauthenticated` for a stranger.
    """
    caller = context().caller
    if caller is None:
        return
    if caller.is_stranger:
        raise Unauthenticated()
    if caller.id != owner and not caller.has(frozenset(roles)):
        raise AccessDenied()


def narrow(owner: str | None, *roles: str) -> str | None:
    """In a use case that lists: whose things the caller may look at, when he asks for those of `owner` (None: of all).

    His own, unless he has one of the roles, or isn't from outside. Raises `AccessDenied` when he asks for another's,
    `Unauthenticated` for a stranger.
    """
    caller = context().caller
    if caller is None or caller.has(frozenset(roles)):
        return owner
    permit(owner or caller.id, *roles)
    return caller.id
