"""What identity does with users and sessions."""

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import msgspec

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
from craton.domain import Instant, Name, Secret, Text, Unauthenticated
from craton.domain.world import random_text
from market.identity import domain
from market.identity.api import Identity, Tokens, User, Validity
from market.identity.attempt_queues import AttemptQueues
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
    WrongCredentials,
    WrongPassword,
)
from market.identity.ports import Claims, PasswordHasher, TokenSigner
from market.identity.read_models import EmailRow, SessionRow
from market.identity.settings import IdentitySettings

ACCESS_LIFETIME = timedelta(minutes=15)
SESSION_LIFETIME = timedelta(days=7)
ADMINISTRATOR = Name("Administrator")

TABLES = (
    "CREATE TABLE IF NOT EXISTS credentials (user_id TEXT PRIMARY KEY, hash TEXT NOT NULL, number INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS token_key (id INTEGER PRIMARY KEY, token_key TEXT NOT NULL)",
)
"""Secrets, which the log of events must not hold."""


class IdentityService(Identity):
    def __init__(
        self,
        users: Repository[domain.User],
        sessions: Repository[domain.Session],
        attempts: Repository[domain.LoginAttempts],
        user_rows: View[User],
        email_rows: View[EmailRow],
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
        self._email_rows = email_rows
        self._session_rows = session_rows
        self._database = database
        self._hasher = hasher
        self._signer = signer
        self._queues = AttemptQueues(domain.MAX_FREE_FAILURES)
        self._key = "" if settings.token_key is None else settings.token_key.reveal()

    async def register(self, email: EmailAddress, name: Name, password: Password) -> UserId:
        password.require_strong(email, name)
        if await self._email_rows.find(email=email.key) is not None:
            raise ValueTaken(field="email")  # the constraint would refuse it too, but only after the hashing
        user = domain.User.register(UserId.new(), email, name)
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
        caller, former_credentials, former_email = context().caller, found.credentials, found.email
        is_new_email = email is not None and email.key != former_email.key
        is_own = caller is not None and caller.id == user
        if is_own and (is_new_email or password is not None):
            await self._require_password(found, current_password)
        found.update(email, name)
        if password is not None:
            password.require_strong(found.email, found.name)
            found.change_password(former_email)
            await self._keep_password(found, password)
        elif found.credentials != former_credentials:
            await self._database.execute(
                "UPDATE credentials SET number = :number WHERE user_id = :user", user=user, number=found.credentials
            )
        if found.credentials != former_credentials:
            await self._keep_session_of_caller(found)

    async def _keep_session_of_caller(self, user: domain.User) -> None:
        """Let the session in which a user's credentials were changed go on; all others of the user end."""
        caller = context().caller
        if caller is None or not caller.session:
            return
        session = await self._sessions.find(SessionId(caller.session))
        if session is not None:
            session.keep(user)

    async def _require_password(self, user: domain.User, given: Secret | None) -> None:
        """Check the caller's present password. Raises `WrongPassword`, or `TooManyAttempts` after too many failures."""
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

    async def _require_another_administrator(self, user: domain.User) -> None:
        """Raises `LastAdministrator`. The commit checks that the other administrator hasn't changed meanwhile."""
        if ADMIN not in user.granted or user.deleted:
            return
        async for other in self._administrators():
            if other.id != user.id:
                self._users.require_unchanged(other)
                return
        raise LastAdministrator()

    async def _administrators(self) -> AsyncIterator[domain.User]:
        async for row in self._user_rows.each(administrator=True):
            user = await self._users.get(row.id)
            if not user.deleted and ADMIN in user.granted:
                yield user

    async def appoint(self, email: EmailAddress, password: Password) -> bool:
        async for _ in self._administrators():
            raise AdministratorsLeft()
        user = await self._user_with(email)
        if user is not None:
            user.change_roles(user.granted | {ADMIN})
            return False
        await self._add(domain.User.register(UserId.new(), email, ADMINISTRATOR, frozenset({ADMIN})), password)
        return True

    async def change_membership(self, user: UserId, membership: bool, *, at: Instant | None = None) -> None:
        (await self._users.get(user)).change_membership(membership, at)

    async def login(self, email: EmailAddress, password: Secret) -> Tokens:
        async with self._attempt(email) as attempts:
            user = await self._user_with(email)
            hashed = None if user is None else await self._hash_of(user)
            given = Password.given(password)
            is_right = await self._hasher.verify(given, hashed, context().address)
            if not is_right or user is None or hashed is None:
                attempts.fail(now())
                raise WrongCredentials()
            self._users.require_unchanged(user)  # the password may have changed during the check
            attempts.succeed()
            if self._hasher.is_outdated(hashed):
                await self._keep_password(user, given)
            return await self._begin_session(user)

    @asynccontextmanager
    async def _attempt(self, email: EmailAddress) -> AsyncIterator[domain.LoginAttempts]:
        """Wait for this attempt's turn; give the failures at the account from the caller's address.

        Attempts are checked one after the other, and no more of them wait than may fail, so that each failure counts
        before the next attempt is checked. Raises `TooManyAttempts`.
        """
        id = AttemptsId.derived(f"{email.key} from {context().address}")
        async with self._queues.turn(id):
            attempts = await self._attempts.find_or_add(id)
            self._attempts.require_unchanged(attempts)  # attempts in another process may fail meanwhile
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
        async for row in self._session_rows.each(user=user):
            (await self._sessions.get(row.session)).end("logged out")

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
        await self._add(domain.User.register(id, email, ADMINISTRATOR, frozenset({ADMIN})), password)
        return True

    async def authenticate(self, token: str) -> Caller:
        claims = self._signer.read(token, await self._token_key(), now())
        if claims is None:
            raise Unauthenticated()
        session, user = await self._session_rows.find(claims.session), await self._user_rows.find(claims.user)
        if session is None or user is None or session.user != user.id:
            raise Unauthenticated()
        if session.credentials != user.credentials:
            raise Unauthenticated()
        return Caller(user.id, user.roles or frozenset(), session=claims.session)

    async def user(self, user: UserId) -> User:
        found = await self._user_rows.get(user)
        caller = context().caller
        sees_everything = caller is None or caller.id == user or caller.has(frozenset({ADMIN}))
        return found if sees_everything else _shown_to_others(found)

    async def users(self, *, q: Text | None = None, paging: Paging = Paging()) -> Page[User]:
        return await self._user_rows.page(contains={"searched": q}, order="-created_at", paging=paging)

    async def validate(self, user: UserId) -> Validity:
        return Validity(valid=await self._user_rows.find(user) is not None)

    async def _user_with(self, email: EmailAddress) -> domain.User | None:
        row = await self._email_rows.find(email=email.key)
        return None if row is None else await self._users.get(row.user)

    async def _add(self, user: domain.User, password: Password) -> None:
        self._users.add(user)
        await self._keep_password(user, password)

    async def _keep_password(self, user: domain.User, password: Secret) -> None:
        await self._database.execute(
            "INSERT INTO credentials (user_id, hash, number) VALUES (:user, :hash, :number) "
            "ON CONFLICT (user_id) DO UPDATE SET hash = excluded.hash, number = excluded.number",
            user=user.id,
            hash=await self._hasher.hash(password, context().address),
            number=user.credentials,
        )

    async def _hash_of(self, user: domain.User) -> str:
        """The hash of the user's password. Raises `Unavailable` while a new one is being written."""
        rows = await self._database.fetch("SELECT hash, number FROM credentials WHERE user_id = :user", user=user.id)
        if not rows or rows[0]["number"] != user.credentials:
            raise Unavailable("The password is being changed; try again.", maybe_executed=False)
        return str(rows[0]["hash"])

    async def _begin_session(self, user: domain.User) -> Tokens:
        fresh, expires_at = _random(), now() + SESSION_LIFETIME
        session = domain.Session.start(SessionId.new(), user, _digest(fresh), expires_at)
        self._sessions.add(session)
        schedule(expires_at, Identity.end_session, session=session.id)
        return await self._tokens(session, fresh)

    async def _session_of(self, refresh_token: Secret) -> domain.Session:
        """The session of a refresh token, which needn't be the newest one. Raises `InvalidRefreshToken`."""
        try:
            id = SessionId(refresh_token.reveal().partition(".")[0])
        except ValueError:
            raise InvalidRefreshToken() from None
        session = await self._sessions.find(id)
        if session is None:
            raise InvalidRefreshToken()
        return session

    async def _successor(self, refresh_token: Secret) -> Secret:
        """The token that follows another: always the same one, which only the holder of the key can compute."""
        key = await self._token_key()
        digest = hmac.digest(key.encode(), f"after {refresh_token.reveal()}".encode(), "sha256")
        return Secret(base64.urlsafe_b64encode(digest).decode().rstrip("="))

    async def _tokens(self, session: domain.Session, fresh: Secret) -> Tokens:
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


def _shown_to_others(user: User) -> User:
    """The id and the name of a user, and nothing else."""
    return msgspec.structs.replace(user, email=None, active=None, membership=None, roles=None, version=None)


def _random() -> Secret:
    return Secret(random_text(32))


def _digest(token: Secret) -> str:
    """A fast digest is enough, because the random part of a refresh token is too long to be guessed."""
    return hashlib.sha256(token.reveal().rpartition(".")[2].encode()).hexdigest()
