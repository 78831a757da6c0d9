"""What identity tells: ids, values, events and refusals. Others may import it."""

import re
from datetime import datetime
from importlib.resources import files
from typing import Any, ClassVar, Final, Self
from unicodedata import normalize

from craton.domain import (
    AggregateNotFound,
    Conflict,
    Event,
    Id,
    Instant,
    InvalidValue,
    Name,
    Secret,
    Text,
    Unauthenticated,
)

_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])"
)

COMMON_PASSWORDS: Final = frozenset(
    line
    for line in files("market.identity").joinpath("common_passwords.txt").read_text(encoding="ascii").splitlines()
    if not line.startswith("# ")
)
FEWEST_CHARACTERS: Final = 5
"""So many different ones a password has."""
SHORTEST_TELLING: Final = 3
"""A name of fewer characters is in many words."""

ADMIN = "admin"
MEMBER = "member"
SERVICE = "service"


class UserId(Id):
    """Of the administrator that the settings name it is derived from the e-mail, so that each start finds the same."""

    namespace = "craton:market:identity:admin"


class SessionId(Id):
    pass


class AttemptsId(Id):
    """Derived from the e-mail and the caller's network address, so that nobody can keep another out of an account."""

    namespace = "craton:market:identity:login"


class EmailAddress(Text):
    """An e-mail address, kept as it was given. Raises `ValueError` when it isn't one.

    One that holds an encoded word (RFC 2047) isn't: whatever composes or reads mails would take it for another.
    """

    __slots__ = ()

    limit = 254
    json_schema: ClassVar[dict[str, Any]] = {"type": "string", "format": "email", "maxLength": limit}

    def __new__(cls, text: str) -> Self:
        address = super().__new__(cls, text)
        if not _ADDRESS.fullmatch(address) or len(address.partition("@")[0]) > 64 or "=?" in address:
            raise ValueError("this is no e-mail address")
        return address

    @property
    def key(self) -> str:
        """By which two addresses are compared."""
        return self.casefold()


class Password(Secret):
    """In Unicode's form NFC. Raises `ValueError` when it has fewer than 10 or more than 200 characters."""

    __slots__ = ()

    limit = 200
    json_schema: ClassVar[dict[str, Any]] = {
        "type": "string",
        "format": "password",
        "minLength": 10,
        "maxLength": limit,
    }

    def __init__(self, text: str) -> None:
        text = normalize("NFC", text)
        if len(text) < 10:
            raise ValueError("a password has at least 10 characters")
        super().__init__(text)

    @classmethod
    def given(cls, text: Secret) -> Secret:
        """What somebody gives as his password, which may be none, in the form that passwords have."""
        return Secret(normalize("NFC", text.reveal()))

    def require_strong(self, email: "EmailAddress", name: Name) -> None:
        """Refuse what others would try first. Raises `WeakPassword`."""
        text = self.reveal().casefold()
        if text in COMMON_PASSWORDS or len(set(text)) < FEWEST_CHARACTERS:
            raise WeakPassword(reason="others use it, too")
        for what, known in (("e-mail address", email.key.partition("@")[0]), ("name", name.casefold())):
            if len(known) >= SHORTEST_TELLING and known in text:
                raise WeakPassword(reason=f"it holds the {what}")


# --- facts ---------------------------------------------------------------------------------------------------


class UserCreated(Event):
    email: EmailAddress
    name: Name
    roles: frozenset[str] = frozenset()


class UserUpdated(Event):
    email: EmailAddress
    name: Name
    former_email: EmailAddress | None = None
    """None: it is as it was."""


class UserDeleted(Event):
    pass


class PasswordChanged(Event):
    """Whoever was logged in isn't any more. The log knows no password and no hash of one."""

    email: EmailAddress | None = None
    """The address that the user had when he changed it."""


class MembershipChanged(Event):
    membership: bool
    at: Instant | None = None
    """When the membership system has said so."""


class RolesChanged(Event):
    roles: frozenset[str]


class SessionBegun(Event):
    user: UserId
    credentials: int
    token: str
    """Digest of the refresh token, which is random and long."""
    expires_at: datetime


class SessionRefreshed(Event):
    token: str
    at: datetime | None = None


class SessionKept(Event):
    """It goes on, though the user has new credentials: it is the one in which he has changed them."""

    credentials: int


class SessionEnded(Event):
    reason: str


class LoginFailed(Event):
    at: datetime


class LoginSucceeded(Event):
    """Or the failures were so long ago that they are forgotten."""


# --- refusals ------------------------------------------------------------------------------------------------


class BlankName(InvalidValue):
    """A user needs a name."""


class UnknownRole(InvalidValue):
    """There is no such role; roles that can be given are admin and service."""

    role: str


class WeakPassword(InvalidValue):
    """The password is too easily guessed."""

    reason: str

    def __str__(self) -> str:
        return f"The password is too easily guessed: {self.reason}."


class LastAdministrator(Conflict):
    """There must be an administrator; make another one first."""


class AdministratorsLeft(Conflict):
    """There is an administrator already; he can make others."""


class UserNotFound(AggregateNotFound):
    """There is no such user."""


class SessionNotFound(AggregateNotFound):
    """There is no such session."""


class WrongCredentials(Unauthenticated):
    """E-mail and password don't belong together."""

    keeps_changes = True  # the failure counts


class WrongPassword(InvalidValue):
    """Whoever changes his own e-mail or password gives the password that he has, as current_password."""

    temporary = True
    keeps_changes = True  # the failure counts


class InvalidRefreshToken(Unauthenticated):
    """The refresh token isn't valid, or not any more."""

    keeps_changes = True  # what was used twice has ended its session
