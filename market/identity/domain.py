"""Users, their sessions, and how often a caller may try to log in."""

from datetime import datetime, timedelta
from typing import Self

from craton.domain import Aggregate, Name, TooManyAttempts
from market.identity.events import (
    ADMIN,
    MEMBER,
    SERVICE,
    AttemptsId,
    BlankName,
    EmailAddress,
    InvalidRefreshToken,
    LoginFailed,
    LoginSucceeded,
    MembershipChanged,
    PasswordChanged,
    RolesChanged,
    SessionBegun,
    SessionEnded,
    SessionId,
    SessionKept,
    SessionNotFound,
    SessionRefreshed,
    UnknownRole,
    UserCreated,
    UserDeleted,
    UserId,
    UserNotFound,
    UserUpdated,
)

SAME_SUCCESSOR_FOR = timedelta(seconds=10)
"""For so long an exchanged refresh token gets the same successor: two tabs may use it, or an answer got lost."""
MAX_KEPT_TOKENS = 100
"""So many exchanged tokens of a session are remembered."""

MAX_FREE_FAILURES = 5
"""After so many failures in a row the next attempt has to wait."""
MIN_WAIT = timedelta(seconds=30)
MAX_WAIT = timedelta(minutes=15)
FAILURES_EXPIRE_AFTER = timedelta(hours=1)


class User(Aggregate[UserId]):
    not_found = UserNotFound

    email: EmailAddress
    name: Name
    granted: frozenset[str]
    membership: bool = False
    membership_at: datetime | None = None
    deleted: bool = False
    credentials: int = 1
    """The number of the present password and e-mail, from 1. A session is valid for one such number."""

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
        """`email` is the present address or, if it is changed too, the one before."""
        self.require_living()
        self.record(PasswordChanged(email=email))

    def change_membership(self, membership: bool, at: datetime | None = None) -> None:
        """`at` is the time of the report: a report that is older than the last one changes nothing."""
        self.require_living()
        is_outdated = at is not None and self.membership_at is not None and at < self.membership_at
        is_news = membership != self.membership or at is not None
        if is_news and not is_outdated:
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


class Session(Aggregate[SessionId]):
    """A login and all the refresh tokens that come from it, of which only the newest is valid."""

    not_found = SessionNotFound

    user: UserId
    credentials: int
    token: str
    used: tuple[str, ...] = ()
    """The last tokens that were exchanged. If one comes back, it may have been stolen."""
    refreshed_at: datetime | None = None
    expires_at: datetime
    ended: bool = False

    @classmethod
    def start(cls, id: SessionId, user: User, token: str, expires_at: datetime) -> Self:
        return cls.begin(
            id, SessionBegun(user=user.id, credentials=user.credentials, token=token, expires_at=expires_at)
        )

    def refresh(self, user: User | None, used: str, fresh: str, now: datetime) -> None:
        """Replace the token by its successor. A token that was replaced just now may come again and changes nothing.

        A token that was replaced earlier ends the session; an unknown one is only refused.
        """
        is_over = self.ended or now >= self.expires_at
        if is_over or user is None or not self.belongs_to(user):
            raise InvalidRefreshToken()
        if used == self.token:
            self.record(SessionRefreshed(token=fresh, at=now))
        elif not self._was_replaced_just_now(used, now):
            if used in self.used:
                self.end("a refresh token was used twice")
            raise InvalidRefreshToken()

    def _was_replaced_just_now(self, used: str, now: datetime) -> bool:
        if not self.used or self.refreshed_at is None:
            return False
        return used == self.used[-1] and now - self.refreshed_at <= SAME_SUCCESSOR_FOR

    def keep(self, user: User) -> None:
        """Let the session go on with the user's new credentials."""
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
                self.used = (*self.used, self.token)[-MAX_KEPT_TOKENS:]
                self.token, self.refreshed_at = token, at
            case SessionKept(credentials=credentials):
                self.credentials = credentials
            case SessionEnded():
                self.ended = True


class LoginAttempts(Aggregate[AttemptsId]):
    """The failures in a row at one account from one network address, whether or not there is such an account."""

    failures: int = 0
    last: datetime | None = None

    def require_patience(self, now: datetime) -> None:
        """Raises `TooManyAttempts` if the attempt comes too soon. Each failure after the free ones doubles the wait."""
        if self.failures < MAX_FREE_FAILURES or self.last is None:
            return
        doublings = min(self.failures - MAX_FREE_FAILURES, 10)
        wait = self.last + min(MIN_WAIT * (1 << doublings), MAX_WAIT) - now
        if wait > timedelta():
            raise TooManyAttempts(retry_after=int(wait.total_seconds()) + 1)

    def fail(self, now: datetime) -> None:
        if self.last is not None and now - self.last > FAILURES_EXPIRE_AFTER:
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
