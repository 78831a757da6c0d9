"""What identity prepares each time before it serves: a key for tokens, and an administrator."""

from collections.abc import Sequence

from craton.application import ValueTaken, WiringError
from craton.domain import Secret
from craton.domain.world import random_text
from market.identity.api import Identity
from market.identity.events import Password
from market.identity.ports import TokenSigner
from market.identity.settings import IdentitySettings

MIN_MEMBERSHIP_SECRET_CHARACTERS = 16


async def start(identity: Identity, settings: IdentitySettings, signer: TokenSigner) -> Sequence[str]:
    """Make sure that there are a usable key for tokens and an administrator. Raises `WiringError` for weak secrets."""
    _require_usable_secrets(settings, signer)
    await identity.ensure_token_key(Secret(random_text(48)))
    email, chosen = settings.admin_email, settings.admin_password
    password = chosen or Password(random_text(18))
    try:
        is_new = await identity.ensure_admin(email, password)
    except ValueTaken:
        return [f"{email} can't become the administrator: a user has this e-mail."]
    if not is_new or chosen is not None:
        return []
    return [f"The administrator is {email} with the password {password.reveal()} (shown only this once)."]


def _require_usable_secrets(settings: IdentitySettings, signer: TokenSigner) -> None:
    if settings.token_key is not None:
        signer.require_usable(settings.token_key.reveal())
    membership_secret = settings.membership_secret
    if membership_secret is not None and len(membership_secret.reveal()) < MIN_MEMBERSHIP_SECRET_CHARACTERS:
        raise WiringError(
            f"CRATON_IDENTITY_MEMBERSHIP_SECRET has fewer than {MIN_MEMBERSHIP_SECRET_CHARACTERS} characters"
        )
