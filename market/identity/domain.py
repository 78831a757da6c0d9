"""Users, their sessions, and how often somebody may try to log in."""

import re
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any, ClassVar, Final, Self
from unicodedata import normalize
from uuid import NAMESPACE_URL, uuid5

from craton.domain import (
    Aggregate,
    AggregateNotFound,
    Conflict,
    Event,
    Id,
    Instant,
    InvalidValue,
    Name,
    Secret,
    Text,
    TooManyAttempts,
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

SAME_SUCCESSOR_FOR = timedelta(seconds=10)
"""So long a refresh token that was traded in gets the same again: two windows, or an answer that got lost."""

FREE_FAILURES = 5
FIRST_WAIT = timedelta(seconds=30)
LONGEST_WAIT = timedelta(minutes=15)
FORGOTTEN_AFTER = timedelta(hours=1)

ADMIN, MEMBER, SERVICE = "admin", "member", "service"


class UserId(Id):
    @classmethod
    def of_admin(cls, email: "EmailAddress") -> Self:
        """The id of the administrator that the settings name, so that no second start makes a second one."""
        return cls(str(uuid5(NAMESPACE_URL, f"craton:market:identity:admin:{email.key}")))


class SessionId(Id):
    pass


class AttemptsId(Id):
    @classmethod
    def at(cls, email: "EmailAddress", address: str) -> Self:
        """Those at one account from one address of the network: nobody can keep another out."""
        return cls(str(uuid5(NAMESPACE_URL, f"craton:market:identity:login:{email.key} from {address}")))


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


# --- aggregates ----------------------------------------------------------------------------------------------


class User(Aggregate):
    not_found = UserNotFound

    id: UserId
    email: EmailAddress
    name: Name
    granted: frozenset[str]
    membership: bool = False
    membership_at: datetime | None = None
    deleted: bool = False
    credentials: int = 1
    """How often the password or the e-mail was another; a session belongs to one of them."""

    @classmethod
    def register(cls, id: UserId, email: EmailAddress, name: Name, roles: frozenset[str] = frozenset()) -> Self:
        if not name:
            raise BlankName()
        return cls.begin(id, UserCreated(email=email, name=name, roles=roles))

    @property
    def roles(self) -> frozenset[str]:
        return self.granted | {MEMBER} if self.membership else self.granted

    def update(self, email: EmailAddress | None, name: Name | None) -> None:
        self.require_living()
        if name is not None and not name:
            raise BlankName()
        email, name = email or self.email, name or self.name
        if (email, name) != (self.email, self.name):
            former = None if email.key == self.email.key else self.email
            self.record(UserUpdated(email=email, name=name, former_email=former))

    def change_password(self, email: EmailAddress) -> None:
        """`email` is the address that the user had before, if he changes that, too."""
        self.require_living()
        self.record(PasswordChanged(email=email))

    def change_membership(self, membership: bool, at: datetime | None = None) -> None:
        """`at` is when it became so: what was told later but is older changes nothing."""
        self.require_living()
        is_newer = at is None or self.membership_at is None or at >= self.membership_at
        if is_newer and (membership != self.membership or at is not None):
            self.record(MembershipChanged(membership=membership, at=at))

    def change_roles(self, roles: frozenset[str]) -> None:
        self.require_living()
        for role in sorted(roles - {ADMIN, SERVICE}):
            raise UnknownRole(role=role)
        if roles != self.granted:
            self.record(RolesChanged(roles=roles))

    def delete(self) -> None:
        if not self.deleted:
            self.record(UserDeleted())

    def require_living(self) -> None:
        if self.deleted:
            raise UserNotFound(id=self.id)

    def apply(
        self,
        event: UserCreated | UserUpdated | UserDeleted | PasswordChanged | MembershipChanged | RolesChanged,
    ) -> None:
        match event:
            case UserCreated(email=email, name=name, roles=roles):
                self.email, self.name, self.granted = email, name, roles
            case UserUpdated(email=email, name=name, former_email=former):
                self.email, self.name = email, name
                self.credentials += former is not None
            case PasswordChanged():
                self.credentials += 1
            case MembershipChanged(membership=membership, at=at):
                self.membership, self.membership_at = membership, at or self.membership_at
            case RolesChanged(roles=roles):
                self.granted = roles
            case UserDeleted():
                self.deleted = True


class Session(Aggregate):
    """A login and all the refresh tokens that come from it, of which only the newest is good."""

    not_found = SessionNotFound

    id: SessionId
    user: UserId
    credentials: int
    token: str
    used: tuple[str, ...] = ()
    """Tokens that were traded in, the last hundred: whoever shows one again has stolen it, or was stolen from."""
    refreshed_at: datetime | None = None
    expires_at: datetime
    ended: bool = False

    @classmethod
    def start(cls, id: SessionId, user: User, token: str, expires_at: datetime) -> Self:
        return cls.begin(
            id, SessionBegun(user=user.id, credentials=user.credentials, token=token, expires_at=expires_at)
        )

    def refresh(self, user: User | None, used: str, fresh: str, now: datetime) -> None:
        """Replace the token by its successor. One that was replaced just now may come again and gets the same.

        One that was replaced before that ends the session; one that never was is only refused.
        """
        if self.ended or now >= self.expires_at or user is None or not self.belongs_to(user):
            raise InvalidRefreshToken()
        if used == self.token:
            self.record(SessionRefreshed(token=fresh, at=now))
        elif not self._was_replaced_just_now(used, now):
            if used in self.used:
                self.end("a refresh token was used twice")
            raise InvalidRefreshToken()

    def _was_replaced_just_now(self, used: str, now: datetime) -> bool:
        is_newest = used == self.used[-1] if self.used else False
        return is_newest and self.refreshed_at is not None and now - self.refreshed_at <= SAME_SUCCESSOR_FOR

    def keep(self, user: User) -> None:
        """Go on under the user's new credentials."""
        if not self.ended and self.user == user.id:
            self.record(SessionKept(credentials=user.credentials))

    def belongs_to(self, user: User) -> bool:
        return not user.deleted and self.credentials == user.credentials

    def end(self, reason: str) -> None:
        if not self.ended:
            self.record(SessionEnded(reason=reason))

    def apply(self, event: SessionBegun | SessionRefreshed | SessionKept | SessionEnded) -> None:
        match event:
            case SessionBegun(user=user, credentials=credentials, token=token, expires_at=expires_at):
                self.user, self.credentials, self.token, self.expires_at = user, credentials, token, expires_at
            case SessionRefreshed(token=token, at=at):
                self.used = (*self.used[-99:], self.token)
                self.token, self.refreshed_at = token, at
            case SessionKept(credentials=credentials):
                self.credentials = credentials
            case SessionEnded():
                self.ended = True


class LoginAttempts(Aggregate):
    """The failures in a row at one account from one place, whether or not there is such an account."""

    id: AttemptsId
    failures: int = 0
    last: datetime | None = None

    def require_patience(self, now: datetime) -> None:
        """Refuse an attempt that comes too soon after too many failures: each one doubles the wait."""
        if self.failures < FREE_FAILURES or self.last is None:
            return
        doublings = min(self.failures - FREE_FAILURES, 10)
        wait = self.last + min(FIRST_WAIT * (1 << doublings), LONGEST_WAIT) - now
        if wait > timedelta():
            raise TooManyAttempts(retry_after=int(wait.total_seconds()) + 1)

    def fail(self, now: datetime) -> None:
        if self.last is not None and now - self.last > FORGOTTEN_AFTER:
            self.succeed()
        self.record(LoginFailed(at=now))

    def succeed(self) -> None:
        if self.failures:
            self.record(LoginSucceeded())

    def apply(self, event: LoginFailed | LoginSucceeded) -> None:
        match event:
            case LoginFailed(at=at):
                self.failures, self.last = self.failures + 1, at
            case LoginSucceeded():
                self.failures = 0
