"""Identity's wiring."""

import secrets
from collections.abc import Sequence

from craton.application import Module, ValueTaken, WiringError
from craton.domain import Secret
from market.identity.adapters.argon2 import Argon2
from market.identity.adapters.jwt import Jwt
from market.identity.api import Identity
from market.identity.events import Password
from market.identity.http import routes
from market.identity.ports import PasswordHasher, TokenSigner
from market.identity.read_models import Sessions, Users
from market.identity.settings import IdentitySettings
from market.identity.use_cases import TABLES, IdentityService

SHORTEST_SECRET = 16


async def start(identity: Identity, settings: IdentitySettings, signer: TokenSigner) -> Sequence[str]:
    """Make sure that there is a key for tokens that works, and an administrator."""
    if settings.token_key is not None:
        signer.require_usable(settings.token_key.reveal())
    if settings.membership_secret is not None and len(settings.membership_secret.reveal()) < SHORTEST_SECRET:
        raise WiringError(f"CRATON_IDENTITY_MEMBERSHIP_SECRET has fewer than {SHORTEST_SECRET} characters")
    await identity.ensure_token_key(Secret(secrets.token_urlsafe(48)))
    email, chosen = settings.admin_email, settings.admin_password
    password = chosen or Password(secrets.token_urlsafe(18))
    try:
        made = await identity.ensure_admin(email, password)
    except ValueTaken:
        return [f"{email} can't become the administrator: a user has this e-mail."]
    if not made or chosen is not None:
        return []
    return [f"The administrator is {email} with the password {password.reveal()} (shown only this once)."]


def argon2() -> PasswordHasher:
    return Argon2()


identity = Module(
    "identity",
    api=Identity,
    service=IdentityService,
    projections=[Users, Sessions],
    routes=routes,
    settings=IdentitySettings,
    provides={PasswordHasher: argon2, TokenSigner: Jwt()},
    start=start,
    tables=TABLES,
)
