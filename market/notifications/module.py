"""Notifications' wiring."""

from pathlib import Path

from craton.application import Module, WiringError
from market.notifications.adapters.folder import FolderMailer
from market.notifications.api import Notifications
from market.notifications.http import routes
from market.notifications.policies import Post, Write
from market.notifications.ports import Mailer
from market.notifications.read_models import Letters
from market.notifications.settings import NotificationsSettings
from market.notifications.use_cases import NotificationsService


def choose_mailer(settings: NotificationsSettings) -> Mailer:
    """The mail server if there is one, else the folder."""
    if (settings.smtp_user is None) != (settings.smtp_password is None):
        raise WiringError(
            "CRATON_NOTIFICATIONS_SMTP_USER and CRATON_NOTIFICATIONS_SMTP_PASSWORD must be set both, or neither"
        )
    if settings.smtp_host is None and settings.smtp_user is not None:
        raise WiringError("CRATON_NOTIFICATIONS_SMTP_USER is set, but no CRATON_NOTIFICATIONS_SMTP_HOST")
    if settings.smtp_host is None:
        return FolderMailer(Path(settings.folder), settings.sender)
    from market.notifications.adapters.smtp import SmtpMailer  # noqa: PLC0415  (only who has a server needs it)

    return SmtpMailer(
        settings.smtp_host,
        settings.smtp_port,
        sender=settings.sender,
        user=settings.smtp_user,
        password=settings.smtp_password,
        tls=settings.smtp_tls,
    )


notifications = Module(
    "notifications",
    api=Notifications,
    service=NotificationsService,
    projections=[Letters],
    policies=[Write, Post],
    routes=routes,
    settings=NotificationsSettings,
    provides={Mailer: choose_mailer},
)
