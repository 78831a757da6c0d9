"""What identity does with users and sessions."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from craton.application import (
    Caller,
    Database,
    Page,
    Paging,
    Repository,
    Unavailable,
    ValueTaken,
    View,
    context,
    now,
    schedule,
)
from craton.application.page import MAX_PAGE_SIZE
from craton.domain import Instant, Name, Secret, Text, Unauthenticated
from market.identity.api import Identity, Tokens, User, Validity
from market.identity.domain import FREE_FAILURES, LoginAttempts, Session
from market.identity.domain import User as UserAggregate
from market.identity.events import (
    ADMIN,
    AdministratorsLeft,
    AttemptsId,
    EmailAddress,
    InvalidRefreshToken,
    LastAdministrator,
    Password,
    SessionId,
    UserId,
    UserNotFound,
    WrongCredentials,
    WrongPassword,
)
from market.identity.ports import Claims, PasswordHasher, TokenSigner
from market.identity.read_models import SessionRow, UserRow
from market.identity.settings import IdentitySettings
from market.identity.turns import Turns

ACCESS_LIFETIME = timedelta(minutes=15)
SESSION_LIFETIME = timedelta(days=7)
ADMINISTRATOR = Name("Administrator")

TABLES = (
    "CREATE TABLE IF NOT EXISTS credentials (user_id TEXT PRIMARY KEY, hash TEXT NOT NULL, number INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS token_key (id INTEGER PRIMARY KEY, token_key TEXT NOT NULL)",
)
"""What the log of events must not hold."""


class IdentityService(Identity):
    def __init__(
        self,
        users: Repository[UserAggregate],
        sessions: Repository[Session],
        attempts: Repository[LoginAttempts],
        user_rows: View[UserRow],
        session_rows: View[SessionRow],
        database: Database,
        hasher: PasswordHasher,
        signer: TokenSigner,
        settings: IdentitySettings,
    ) -> None:
        self._users = users
        self._sessions = sessions
        self._attempts = attempts
        self._user_rows = user_rows
        self._session_rows = session_rows
        self._database = database
        self._hasher = hasher
        self._signer = signer
        self._turns = Turns(FREE_FAILURES)
        self._key = "" if settings.token_key is None else settings.token_key.reveal()

    async def register(self, email: EmailAddress, name: Name, password: Password) -> UserId:
        password.require_strong(email, name)
        if (await self._user_rows.page(email=email.key, paging=Paging(1, 1))).total:
            raise ValueTaken(field="email")  # the constraint would find it, too, after the hashing
        user = UserAggregate.register(UserId.new(), email, name)
        await self._add(user, password)
        return user.id

    async def update(
        self,
        user: UserId,
        *,
        email: EmailAddress | None = None,
        name: Name | None = None,
        password: Password | None = None,
        current_password: Secret | None = None,
    ) -> None:
        found = await self._users.get(user)
        caller, credentials, had = context().caller, found.credentials, found.email
        is_guarded = password is not None or (email is not None and email.key != found.email.key)
        if is_guarded and caller is not None and caller.id == user:
            await self._require_password(found, current_password)
        found.update(email, name)
        if password is not None:
            password.require_strong(found.email, found.name)
            found.change_password(had)
            await self._keep_password(found, password)
        elif found.credentials != credentials:
            await self._database.execute(
                "UPDATE credentials SET number = :number WHERE user_id = :user", user=user, number=found.credentials
            )
        if found.credentials != credentials and caller is not None and caller.session:
            session = await self._sessions.find(SessionId(caller.session))
            if session is not None:
                session.keep(found)

    async def _require_password(self, user: UserAggregate, given: Secret | None) -> None:
        """Have the caller prove himself again. Raises `WrongPassword`, or `TooManyAttempts` after too many failures."""
        if given is None:
            raise WrongPassword()
        async with self._attempt(user.email) as attempts:
            if not await self._hasher.verify(Password.given(given), await self._hash_of(user), context().address):
                attempts.fail(now())
                raise WrongPassword()
            attempts.succeed()

    async def delete(self, user: UserId) -> None:
        found = await self._users.get(user)
        await self._require_another_administrator(found)
        found.delete()
        await self._database.execute("DELETE FROM credentials WHERE user_id = :user", user=user)

    async def change_roles(self, user: UserId, roles: frozenset[str]) -> None:
        found = await self._users.get(user)
        if ADMIN not in roles:
            await self._require_another_administrator(found)
        found.change_roles(roles)

    async def _require_another_administrator(self, user: UserAggregate) -> None:
        """Raises `LastAdministrator`. The commit checks that the other one is still there: he may be going as well."""
        if ADMIN not in user.granted or user.deleted:
            return
        async for other in self._administrators():
            if other.id != user.id:
                self._users.require_unchanged(other)
                return
        raise LastAdministrator()

    async def _administrators(self) -> AsyncIterator[UserAggregate]:
        number = total = 1
        while number <= total:
            page = await self._user_rows.page(administrator=True, paging=Paging(number, MAX_PAGE_SIZE))
            for row in page.items:
                user = await self._users.get(row.user)
                if not user.deleted and ADMIN in user.granted:
                    yield user
            number, total = number + 1, page.total_pages

    async def appoint(self, email: EmailAddress, password: Password) -> bool:
        async for _ in self._administrators():
            raise AdministratorsLeft()
        found = await self._user_rows.page(email=email.key, paging=Paging(1, 1))
        if found.items:
            user = await self._users.get(found.items[0].user)
            user.change_roles(user.granted | {ADMIN})
            return False
        await self._add(
            UserAggregate.register(UserId.new(), email, Name("Administrator"), frozenset({ADMIN})), password
        )
        return True

    async def change_membership(self, user: UserId, membership: bool, *, at: Instant | None = None) -> None:
        (await self._users.get(user)).change_membership(membership, at)

    async def login(self, email: EmailAddress, password: Secret) -> Tokens:
        async with self._attempt(email) as attempts:
            found = await self._user_rows.page(email=email.key, paging=Paging(1, 1))
            user = await self._users.get(found.items[0].user) if found.items else None
            hashed = None if user is None else await self._hash_of(user)
            given = Password.given(password)
            if not await self._hasher.verify(given, hashed, context().address) or user is None or hashed is None:
                attempts.fail(now())
                raise WrongCredentials()
            self._users.require_unchanged(user)  # the password may be changed while it is checked
            attempts.succeed()
            if self._hasher.is_outdated(hashed):
                await self._keep_password(user, given)
            return await self._begin_session(user)

    @asynccontextmanager
    async def _attempt(self, email: EmailAddress) -> AsyncIterator[LoginAttempts]:
        """The attempts at an account from where the caller calls, this one's turn. Raises `TooManyAttempts`.

        They are judged one after the other, and no more wait than may fail: so each counts before it is judged, and
        none is judged twice.
        """
        id = AttemptsId.derived(email.key, context().address)
        async with self._turns.taken_for(id):
            attempts = await self._attempts.find_or_add(id)
            self._attempts.require_unchanged(attempts)  # in another process others may fail meanwhile
            attempts.require_patience(now())
            yield attempts

    async def refresh(self, refresh_token: Secret) -> Tokens:
        session = await self._session_of(refresh_token)
        fresh = await self._successor(refresh_token)
        user = await self._users.find(session.user)
        session.refresh(user, _digest(refresh_token), _digest(fresh), now())
        return await self._tokens(session, fresh)

    async def logout(self, user: UserId, *, refresh_token: Secret | None = None) -> None:
        if refresh_token is not None:
            session = await self._session_of(refresh_token)
            if session.user == user:
                session.end("logged out")
            return
        number = total = 1
        while number <= total:
            page = await self._session_rows.page(user=user, paging=Paging(number, MAX_PAGE_SIZE))
            for row in page.items:
                (await self._sessions.get(row.session)).end("logged out")
            number, total = number + 1, page.total_pages

    async def end_session(self, session: SessionId) -> None:
        (await self._sessions.get(session)).end("expired")

    async def ensure_token_key(self, key: Secret) -> None:
        await self._database.execute(
            "INSERT INTO token_key (id, token_key) VALUES (1, :token_key) ON CONFLICT (id) DO NOTHING",
            token_key=key.reveal(),
        )

    async def ensure_admin(self, email: EmailAddress, password: Password) -> bool:
        id = UserId.derived(email.key)
        if await self._users.find(id) is not None:
            return False
        await self._add(UserAggregate.register(id, email, ADMINISTRATOR, frozenset({ADMIN})), password)
        return True

    async def authenticate(self, token: str) -> Caller:
        claims = self._signer.read(token, await self._token_key(), now())
        if claims is None:
            raise Unauthenticated()
        session, user = await self._session_rows.find(claims.session), await self._user_rows.find(claims.user)
        if session is None or user is None or session.user != claims.user:
            raise Unauthenticated()
        if session.credentials != user.state.credentials:
            raise Unauthenticated()
        return Caller(user.user, user.state.roles, session=claims.session)

    async def user(self, user: UserId) -> User:
        row = await self._user_rows.find(user)
        if row is None:
            raise UserNotFound(id=user)
        caller = context().caller
        knows_him = caller is None or caller.id == user or caller.has(frozenset({ADMIN}))
        return _shown(row) if knows_him else User(id=user, name=row.state.name)

    async def users(self, *, q: Text | None = None, paging: Paging = Paging()) -> Page[User]:
        return (await self._user_rows.page(contains={"searched": q}, order="-created", paging=paging)).map(_shown)

    async def validate(self, user: UserId) -> Validity:
        return Validity(valid=await self._user_rows.find(user) is not None)

    async def _add(self, user: UserAggregate, password: Password) -> None:
        self._users.add(user)
        await self._keep_password(user, password)

    async def _keep_password(self, user: UserAggregate, password: Secret) -> None:
        await self._database.execute(
            "INSERT INTO credentials (user_id, hash, number) VALUES (:user, :hash, :number) "
            "ON CONFLICT (user_id) DO UPDATE SET hash = excluded.hash, number = excluded.number",
            user=user.id,
            hash=await self._hasher.hash(password, context().address),
            number=user.credentials,
        )

    async def _hash_of(self, user: UserAggregate) -> str:
        """The hash of the user's password. Raises `Unavailable` while a new one is being written."""
        rows = await self._database.fetch("SELECT hash, number FROM credentials WHERE user_id = :user", user=user.id)
        if not rows or rows[0]["number"] != user.credentials:
            raise Unavailable("The password is being changed; try again.", maybe_executed=False)
        return str(rows[0]["hash"])

    async def _begin_session(self, user: UserAggregate) -> Tokens:
        fresh, expires_at = _random(), now() + SESSION_LIFETIME
        session = Session.start(SessionId.new(), user, _digest(fresh), expires_at)
        self._sessions.add(session)
        schedule(expires_at, Identity.end_session, session=session.id)
        return await self._tokens(session, fresh)

    async def _session_of(self, refresh_token: Secret) -> Session:
        """The session that a refresh token is of, whether or not it is the newest. Raises `InvalidRefreshToken`."""
        try:
            id = SessionId(refresh_token.reveal().partition(".")[0])
        except ValueError:
            raise InvalidRefreshToken() from None
        session = await self._sessions.find(id)
        if session is None:
            raise InvalidRefreshToken()
        return session

    async def _successor(self, refresh_token: Secret) -> Secret:
        """The token that comes after one: always the same, and nobody can tell it who hasn't got the key."""
        key = await self._token_key()
        digest = hmac.digest(key.encode(), f"after {refresh_token.reveal()}".encode(), "sha256")
        return Secret(base64.urlsafe_b64encode(digest).decode().rstrip("="))

    async def _tokens(self, session: Session, fresh: Secret) -> Tokens:
        claims = Claims(user=session.user, session=session.id)
        return Tokens(
            access_token=self._signer.sign(claims, await self._token_key(), now(), now() + ACCESS_LIFETIME),
            refresh_token=Secret(f"{session.id}.{fresh.reveal()}"),
            expires_in=int(ACCESS_LIFETIME.total_seconds()),
            user_id=session.user,
        )

    async def _token_key(self) -> str:
        if not self._key:
            rows = await self._database.fetch("SELECT token_key FROM token_key")
            if not rows:
                raise Unavailable("There is no key to sign access tokens with yet.", maybe_executed=False)
            self._key = rows[0]["token_key"]
        return self._key


def _random() -> Secret:
    return Secret(secrets.token_urlsafe(32))


def _digest(token: Secret) -> str:
    """The random part of a refresh token is too long to be guessed, so that a fast digest is enough."""
    return hashlib.sha256(token.reveal().rpartition(".")[2].encode()).hexdigest()


def _shown(row: UserRow) -> User:
    state = row.state
    return User(
        id=row.user,
        name=state.name,
        email=state.email,
        active=True,
        membership=state.membership,
        roles=state.roles,
        version=state.version,
    )
