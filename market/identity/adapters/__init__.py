"""Which technologies hash passwords and sign tokens: argon2id and JSON Web Tokens."""

from market.identity.adapters.argon2 import Argon2
from market.identity.adapters.jwt import Jwt
from market.identity.ports import PasswordHasher, TokenSigner


def make_password_hasher() -> PasswordHasher:
    return Argon2()


def make_token_signer() -> TokenSigner:
    return Jwt()
