"""Identity's wiring."""

from craton.application import Module
from market.identity.adapters import make_password_hasher, make_token_signer
from market.identity.api import Identity
from market.identity.http import routes
from market.identity.ports import PasswordHasher, TokenSigner
from market.identity.read_models import Emails, Sessions, Users
from market.identity.settings import IdentitySettings
from market.identity.start import start
from market.identity.use_cases import TABLES, IdentityService

identity = Module(
    "identity",
    api=Identity,
    service=IdentityService,
    projections=[Users, Emails, Sessions],
    routes=routes,
    settings=IdentitySettings,
    provides={PasswordHasher: make_password_hasher, TokenSigner: make_token_signer},
    start=start,
    tables=TABLES,
)
