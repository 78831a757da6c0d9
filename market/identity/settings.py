"""The settings of identity."""

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from craton.application import Settings
from craton.domain import Secret
from market.identity.events import EmailAddress, Password


class IdentitySettings(Settings):
    def unfit_for_production(self) -> Iterator[str]:
        if self.admin_email.endswith("@example.com"):
            yield "CRATON_IDENTITY_ADMIN_EMAIL is an example; set the address of the first administrator."

    admin_email: Annotated[EmailAddress, Meta(description="the e-mail of the first administrator")] = EmailAddress(
        "admin@example.com"
    )
    admin_password: Annotated[
        Password | None,
        Meta(description="the password of the first administrator; without it, a random one is made and shown once"),
    ] = None
    token_key: Annotated[
        Secret | None,
        Meta(
            description="the key that signs access tokens: an Ed25519 key in PEM, or a text of 32 characters or more; "
            "without it, a random one is made and kept with the data"
        ),
    ] = None
    membership_secret: Annotated[
        Secret | None,
        Meta(
            description="the secret with which the membership system signs its webhooks, of 16 characters or more; "
            "without it, every webhook is refused"
        ),
    ] = None
