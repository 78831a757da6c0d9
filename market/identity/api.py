"""Identity's front door. Others may import it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from craton.application import INCIDENTAL, Api, Caller, Hidden, Index, Key, Page, Paging, Row, Search, command, query
from craton.domain import Instant, Name, Secret, Text, Value
from market.identity.events import EmailAddress, Password, SessionId, UserId, UserNotFound


class Identity(Api):
    """Users, and how they prove who they are."""

    @command
    async def register(self, email: EmailAddress, name: Name, password: Password) -> UserId:
        """Make a user."""

    @command
    async def update(
        self,
        user: UserId,
        *,
        email: EmailAddress | None = None,
        name: Name | None = None,
        password: Password | None = None,
        current_password: Secret | None = None,
    ) -> None:
        """Change what is given.

        To change your own e-mail or password, give your present password as `current_password`. The change ends your
        other sessions.
        """

    @command
    async def delete(self, user: UserId) -> None:
        """Delete a user. The user can't log in any more, tokens stop working, and the e-mail is free again."""

    @command
    async def change_roles(self, user: UserId, roles: frozenset[str]) -> None:
        """Set which of the roles admin and service a user has. The role member comes with the membership."""

    @command
    async def change_membership(
        self, user: UserId, membership: bool, *, at: Annotated[Instant | None, INCIDENTAL] = None
    ) -> None:
        """Set whether a user has a membership. `at` is the time of the report: an older report changes nothing."""

    @command
    async def login(self, email: EmailAddress, password: Secret) -> Tokens:
        """Begin a session."""

    @command
    async def refresh(self, refresh_token: Secret) -> Tokens:
        """Exchange a refresh token for a new pair of tokens.

        A token that comes again within ten seconds gets the same refresh token; later, it ends its session.
        """

    @command
    async def logout(self, user: UserId, *, refresh_token: Secret | None = None) -> None:
        """End the session of a refresh token or, without one, all sessions of the user."""

    @command
    async def end_session(self, session: SessionId) -> None:
        """End a session that has expired."""

    @command
    async def ensure_token_key(self, key: Secret) -> None:
        """Keep a key to sign access tokens with, if there is none yet."""

    @command
    async def ensure_admin(self, email: EmailAddress, password: Password) -> bool:
        """Make the administrator that the settings name. Return False if that was done before."""

    @command
    async def appoint(self, email: EmailAddress, password: Password) -> bool:
        """Make an administrator when none is left. Return whether that is a new user.

        A user with this e-mail gets the role and keeps the old password; a new user gets the password.
        """

    @query
    async def authenticate(self, token: str) -> Caller:
        """The user of an access token."""

    @query
    async def user(self, user: UserId) -> User:
        """A user."""

    @query
    async def users(self, *, q: Text | None = None, paging: Paging = Paging()) -> Page[User]:
        """The users in whose name or e-mail `q` is found, newest first."""

    @query
    async def validate(self, user: UserId) -> Validity:
        """Whether there is such a user."""


class User(Row, omit_defaults=True):
    """A user. Users see all of themselves, and only the id and the name of others; administrators see everything."""

    not_found = UserNotFound

    id: Key[UserId]
    name: Name
    email: EmailAddress | None = None
    active: bool | None = None
    """Always true: a deleted user isn't shown."""
    membership: bool | None = None
    roles: frozenset[str] | None = None
    version: int | None = None
    credentials: Hidden[int]
    created_at: Hidden[Index[datetime]]
    searched: Hidden[Search[str]]
    administrator: Hidden[Index[bool]]


class Tokens(Value):
    """`access_token` goes into `Authorization: Bearer …`. `refresh_token` can be exchanged for a new pair once."""

    access_token: Secret
    refresh_token: Secret
    expires_in: int
    """Seconds until the access token expires."""
    user_id: UserId
    token_type: str = "Bearer"  # noqa: S105


class Validity(Value):
    valid: bool
