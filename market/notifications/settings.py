"""The settings of notifications."""

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from craton.application import Settings
from craton.domain import Secret


class NotificationsSettings(Settings):
    def unfit_for_production(self) -> Iterator[str]:
        if self.smtp_host is None:
            yield "CRATON_NOTIFICATIONS_SMTP_HOST isn't set, so mails would be put into a folder."
        elif not self.smtp_tls:
            yield "CRATON_NOTIFICATIONS_SMTP_TLS is off, so mails and the password would be sent unencrypted."
        if self.sender.endswith("@example.com"):
            yield "CRATON_NOTIFICATIONS_SENDER is an example address; set it to the address that mails come from."

    smtp_host: Annotated[
        str | None, Meta(description="the mail server; without one, mails are written into a folder")
    ] = None
    smtp_port: Annotated[int, Meta(ge=1, le=65_535, description="the mail server's port")] = 587
    smtp_user: Annotated[str | None, Meta(description="the user name for the mail server")] = None
    smtp_password: Annotated[Secret | None, Meta(description="the password for the mail server")] = None
    smtp_tls: Annotated[bool, Meta(description="whether the connection must be encrypted (STARTTLS)")] = True
    sender: Annotated[str, Meta(pattern=r"^[^@\s]+@[^@\s]+$", description="the address that mails come from")] = (
        "market@example.com"
    )
    folder: Annotated[str, Meta(description="the folder that mails are written into if there is no mail server")] = (
        "./var/mail"
    )
    letters_a_day: Annotated[
        int, Meta(ge=1, le=1_000, description="how many mails an address may get within a day; further ones wait")
    ] = 10
