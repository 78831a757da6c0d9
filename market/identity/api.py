"""Identity's contract: all that others may import of it."""

from typing import Annotated

from craton.application import INCIDENTAL, Api, Caller, Page, Paging, command, query
from craton.domain import Instant, Name, Secret, Text, Value
from market.identity.events import (
    AdministratorsLeft,
    BlankName,
    EmailAddress,
    InvalidRefreshToken,
    LastAdministrator,
    MembershipChanged,
    Password,
    PasswordChanged,
    RolesChanged,
    SessionId,
    UnknownRole,
    UserCreated,
    UserDeleted,
    UserId,
    UserNotFound,
    UserUpdated,
    WeakPassword,
    WrongCredentials,
    WrongPassword,
)

__all__ = [
    "AdministratorsLeft",
    "BlankName",
    "EmailAddress",
    "Identity",
    "InvalidRefreshToken",
    "LastAdministrator",
    "MembershipChanged",
    "Password",
    "PasswordChanged",
    "RolesChanged",
    "Tokens",
    "UnknownRole",
    "User",
    "UserCreated",
    "UserDeleted",
    "UserId",
    "UserNotFound",
    "UserUpdated",
    "Validity",
    "WeakPassword",
    "WrongCredentials",
    "WrongPassword",
]


class User(Value, omit_defaults=True):
    """A user as the caller may see him: others than himself and administrators see who he is and no more."""

    id: UserId
    name: Name
    email: EmailAddress | None = None
    active: bool | None = None
    """Always true: who was deleted isn't shown."""
    membership: bool | None = None
    roles: frozenset[str] | None = None
    version: int | None = None


class Tokens(Value):
    """`access_token` goes into `Authorization: Bearer …`; the refresh token is good for one new pair."""

    access_token: Secret
    refresh_token: Secret
    expires_in: int
    """Seconds until the access token ends."""
    user_id: UserId
    token_type: str = "Bearer"  # noqa: S105


class Validity(Value):
    valid: bool


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

        Whoever changes his own e-mail or password gives the password that he has. Either ends his other sessions.
        """

    @command
    async def delete(self, user: UserId) -> None:
        """Delete a user: he can't log in, his tokens stop working, his e-mail is free again."""

    @command
    async def change_roles(self, user: UserId, roles: frozenset[str]) -> None:
        """Say which of the roles admin and service a user has; who has a membership is a member, too."""

    @command
    async def change_membership(
        self, user: UserId, membership: bool, *, at: Annotated[Instant | None, INCIDENTAL] = None
    ) -> None:
        """Say whether a user has a membership, and since when that is known: what is older changes nothing."""

    @command
    async def login(self, email: EmailAddress, password: Secret) -> Tokens:
        """Begin a session."""

    @command
    async def refresh(self, refresh_token: Secret) -> Tokens:
        """Trade a refresh token in for a new pair.

        One that comes again within ten seconds gets the same refresh token; later it ends its session.
        """

    @command
    async def logout(self, user: UserId, *, refresh_token: Secret | None = None) -> None:
        """End the session that a refresh token belongs to; without one, all of the user's."""

    @command
    async def end_session(self, session: SessionId) -> None:
        """End a session whose time is over."""

    @command
    async def ensure_token_key(self, key: Secret) -> None:
        """Keep a key to sign access tokens with, if there is none yet."""

    @command
    async def ensure_admin(self, email: EmailAddress, password: Password) -> bool:
        """Make the administrator that the settings name; False if that was done before."""

    @command
    async def appoint(self, email: EmailAddress, password: Password) -> bool:
        """Make an administrator when none is left: of the user with this e-mail, or a new one, with the password.

        Whether it is a new one.
        """

    @query
    async def authenticate(self, token: str) -> Caller:
        """Tell whose access token it is."""

    @query
    async def user(self, user: UserId) -> User:
        """A user."""

    @query
    async def users(self, *, q: Text | None = None, paging: Paging = Paging()) -> Page[User]:
        """The users in whose name or e-mail `q` is found, newest first."""

    @query
    async def validate(self, user: UserId) -> Validity:
        """Whether there is such a user."""
