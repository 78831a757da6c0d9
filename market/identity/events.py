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
MIN_DISTINCT_CHARACTERS: Final = 5
"""A password must have so many different characters."""
MIN_NAME_CHARACTERS: Final = 3
"""A password may hold a name or an e-mail address that is shorter, because it is part of many words."""

ADMIN = "admin"
MEMBER = "member"
SERVICE = "service"


class UserId(Id):
    """The first administrator's id is derived from the e-mail in the settings, so that each start finds it again."""

    namespace = "craton:market:identity:admin"


class SessionId(Id):
    pass


class AttemptsId(Id):
    """It is derived from the e-mail and the caller's network address: failures from one address close no other."""

    namespace = "craton:market:identity:login"


class EmailAddress(Text):
    """An e-mail address, kept as it was given. Raises `ValueError` for a text that isn't one.

    An address that holds an encoded word (RFC 2047) is refused: mail programs would decode it to another address.
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
        """The form in which two addresses are compared."""
        return self.casefold()


class Password(Secret):
    """A new password, in Unicode's form NFC. Raises `ValueError` unless it has 10 to 200 characters."""

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
        """A text that a caller gives as a password, in the form of passwords. It may be too short or too long."""
        return Secret(normalize("NFC", text.reveal()))

    def require_strong(self, email: "EmailAddress", name: Name) -> None:
        """Raises `WeakPassword` for a password that is easily guessed."""
        text = self.reveal().casefold()
        if text in COMMON_PASSWORDS or len(set(text)) < MIN_DISTINCT_CHARACTERS:
            raise WeakPassword(reason="others use it, too")
        for what, known in (("e-mail address", email.key.partition("@")[0]), ("name", name.casefold())):
            is_telling = len(known) >= MIN_NAME_CHARACTERS
            if is_telling and known in text:
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
    """The address before, if it was another one."""


class UserDeleted(Event):
    pass


class PasswordChanged(Event):
    """The password was changed, which ends all other sessions. The log holds neither passwords nor their hashes."""

    email: EmailAddress | None = None
    """The user's address before the change."""


class MembershipChanged(Event):
    membership: bool
    at: Instant | None = None
    """When the membership system signed the notice."""


class RolesChanged(Event):
    roles: frozenset[str]


class SessionBegun(Event):
    user: UserId
    credentials: int
    token: str
    """A digest of the refresh token, which is random and long."""
    expires_at: datetime


class SessionRefreshed(Event):
    token: str
    at: datetime | None = None


class SessionKept(Event):
    """The session goes on although the user has new credentials, because they were changed in this session."""

    credentials: int


class SessionEnded(Event):
    reason: str


class LoginFailed(Event):
    at: datetime


class LoginSucceeded(Event):
    """The failures are forgotten: a login has succeeded, or the last failure is long ago."""


# --- refusals ------------------------------------------------------------------------------------------------


class BlankName(InvalidValue):
    """A user needs a name."""


class UnknownRole(InvalidValue):
    """There is no such role; the roles that can be given are admin and service."""

    role: str


class WeakPassword(InvalidValue):
    """The password is too easily guessed."""

    reason: str

    def __str__(self) -> str:
        return f"The password is too easily guessed: {self.reason}."


class LastAdministrator(Conflict):
    """There must always be an administrator; give the role to another user first."""


class AdministratorsLeft(Conflict):
    """There is an administrator already; administrators can give the role to others."""


class UserNotFound(AggregateNotFound):
    """There is no such user."""


class SessionNotFound(AggregateNotFound):
    """There is no such session."""


class WrongCredentials(Unauthenticated):
    """E-mail and password don't belong together."""

    keeps_changes = True  # the failure counts


class WrongPassword(InvalidValue):
    """To change your own e-mail or password, give your present password as current_password."""

    temporary = True
    keeps_changes = True  # the failure counts


class InvalidRefreshToken(Unauthenticated):
    """The refresh token isn't valid, or not any more."""

    keeps_changes = True  # a token that was used twice has ended its session


class BadNotice(InvalidValue):
    """The body of the webhook isn't a valid notice."""


class BadSignature(Unauthenticated):
    """The signature is missing, wrong, or older than five minutes."""
