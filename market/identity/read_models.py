"""What identity looks up: users by id and by e-mail, and the sessions that go on."""

from craton.application import Index, Key, Projection, Row, Unique
from craton.domain import Event, Recorded
from market.identity import domain
from market.identity.api import User
from market.identity.events import ADMIN, SessionId, UserId


class Users(Projection):
    """Living users. Inline, so that a change counts from the next request on."""

    version = 3
    inline = True
    cached = True

    def row(self, user: domain.User, event: Recorded[Event]) -> User | None:
        if user.deleted:
            return None
        return User(
            id=user.id,
            name=user.name,
            email=user.email,
            active=True,
            membership=user.membership,
            roles=user.roles,
            version=user.version,
            credentials=user.credentials,
            created_at=user.began_at,
            searched=f"{user.name} {user.email}",
            administrator=ADMIN in user.granted,
        )


class EmailRow(Row):
    user: Key[UserId]
    email: Unique[str]
    """In the form in which addresses are compared."""


class Emails(Projection):
    """The e-mail of each living user. Inline, so that two users never have the same one."""

    inline = True

    def row(self, user: domain.User, event: Recorded[Event]) -> EmailRow | None:
        return None if user.deleted else EmailRow(user=user.id, email=user.email.key)


class SessionRow(Row):
    session: Key[SessionId]
    user: Index[UserId]
    credentials: int


class Sessions(Projection):
    """Sessions that have not ended. Inline, so that a session counts until its end and no longer."""

    version = 3
    inline = True
    cached = True

    def row(self, session: domain.Session, event: Recorded[Event]) -> SessionRow | None:
        if session.ended:
            return None
        return SessionRow(session=session.id, user=session.user, credentials=session.credentials)
