"""What identity can be told from outside."""

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from craton.application import Settings
from craton.domain import Secret
from market.identity.events import EmailAddress, Password


class IdentitySettings(Settings):
    def unfit_for_production(self) -> Iterator[str]:
        if self.admin_email.endswith("@example.com"):
            yield "CRATON_IDENTITY_ADMIN_EMAIL is an example; say the first administrator's address."

    admin_email: Annotated[EmailAddress, Meta(description="the first administrator's e-mail")] = EmailAddress(
        "admin@example.com"
    )
    admin_password: Annotated[
        Password | None, Meta(description="the first administrator's password; a random one is made and shown once")
    ] = None
    token_key: Annotated[
        Secret | None,
        Meta(
            description="signs access tokens: an Ed25519 key in PEM, or 32 characters or more; "
            "a random one is made and kept with the data"
        ),
    ] = None
    membership_secret: Annotated[
        Secret | None, Meta(description="signs what the membership webhook is told; without it nothing is believed")
    ] = None
