"""Notifications' wiring."""

from pathlib import Path

from craton.application import Module
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
