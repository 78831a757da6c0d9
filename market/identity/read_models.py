"""What identity looks up: users by id and by e-mail, and the sessions that go on."""

from datetime import datetime

from msgspec.structs import replace

from craton.application import Index, Key, Projection, Row, Rows, Search, Unique
from craton.domain import Name, Recorded, Value
from market.identity.events import (
    ADMIN,
    MEMBER,
    EmailAddress,
    MembershipChanged,
    PasswordChanged,
    RolesChanged,
    SessionBegun,
    SessionEnded,
    SessionId,
    SessionKept,
    UserCreated,
    UserDeleted,
    UserId,
    UserUpdated,
)


class UserState(Value):
    email: EmailAddress
    name: Name
    granted: frozenset[str]
    membership: bool
    credentials: int
    version: int

    @property
    def roles(self) -> frozenset[str]:
        return self.granted | {MEMBER} if self.membership else self.granted


class UserRow(Row):
    user: Key[UserId]
    email: Unique[str]
    """As it is compared."""
    created: Index[datetime]
    searched: Search[str]
    administrator: Index[bool]
    state: UserState


class Users(Projection):
    """Living users. Inline, so that no two of them ever have the same e-mail."""

    version = 2
    inline = True
    cached = True
    users: Rows[UserRow]

    def project(
        self,
        event: Recorded[UserCreated | UserUpdated | UserDeleted | PasswordChanged | MembershipChanged | RolesChanged],
    ) -> None:
        user = UserId(event.subject)
        match event.data:
            case UserCreated(email=email, name=name, roles=roles):
                state = UserState(
                    email=email, name=name, granted=roles, membership=False, credentials=1, version=event.version
                )
                self.users.put(_row(user, event.time, state))
            case UserDeleted():
                self.users.delete(user)
            case fact:
                self.users.fold(
                    user,
                    by=lambda row: _row(user, row.created, replace(_after(row.state, fact), version=event.version)),
                )


def _after(state: UserState, fact: UserUpdated | PasswordChanged | MembershipChanged | RolesChanged) -> UserState:
    match fact:
        case UserUpdated(email=email, name=name, former_email=former):
            return replace(state, email=email, name=name, credentials=state.credentials + (former is not None))
        case PasswordChanged():
            return replace(state, credentials=state.credentials + 1)
        case MembershipChanged(membership=membership):
            return replace(state, membership=membership)
        case RolesChanged(roles=roles):
            return replace(state, granted=roles)


def _row(user: UserId, created: datetime, state: UserState) -> UserRow:
    return UserRow(
        user=user,
        email=state.email.key,
        created=created,
        searched=f"{state.name} {state.email}",
        administrator=ADMIN in state.granted,
        state=state,
    )


class SessionRow(Row):
    session: Key[SessionId]
    user: Index[UserId]
    credentials: int


class Sessions(Projection):
    """Sessions that have not ended."""

    version = 2
    inline = True
    cached = True
    sessions: Rows[SessionRow]

    def project(self, event: Recorded[SessionBegun | SessionKept | SessionEnded]) -> None:
        session = SessionId(event.subject)
        match event.data:
            case SessionBegun(user=user, credentials=credentials):
                self.sessions.put(SessionRow(session=session, user=user, credentials=credentials))
            case SessionKept(credentials=credentials):
                self.sessions.fold(session, by=lambda row: replace(row, credentials=credentials))
            case SessionEnded():
                self.sessions.delete(session)
