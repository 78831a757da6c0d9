"""How mail is sent: by SMTP, or into a folder. The settings choose."""

from pathlib import Path

from craton.application import WiringError
from market.notifications.adapters.folder import FolderMailer
from market.notifications.ports import Mailer
from market.notifications.settings import NotificationsSettings


def choose_mailer(settings: NotificationsSettings) -> Mailer:
    """The mail server that the settings name; without one, the folder."""
    if (settings.smtp_user is None) != (settings.smtp_password is None):
        raise WiringError(
            "CRATON_NOTIFICATIONS_SMTP_USER and CRATON_NOTIFICATIONS_SMTP_PASSWORD must be set both, or neither"
        )
    if settings.smtp_host is None and settings.smtp_user is not None:
        raise WiringError("CRATON_NOTIFICATIONS_SMTP_USER is set, but no CRATON_NOTIFICATIONS_SMTP_HOST")
    if settings.smtp_host is None:
        return FolderMailer(Path(settings.folder), settings.sender)
    from market.notifications.adapters.smtp import SmtpMailer  # noqa: PLC0415  (without a server, it isn't needed)

    return SmtpMailer(
        settings.smtp_host,
        settings.smtp_port,
        sender=settings.sender,
        user=settings.smtp_user,
        password=settings.smtp_password,
        tls=settings.smtp_tls,
    )
