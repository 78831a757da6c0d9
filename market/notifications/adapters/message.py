"""A mail as it goes over the wire."""

from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate

from market.notifications.ports import Mail


def compose(mail: Mail, sender: str) -> EmailMessage:
    """The message; its Message-ID is made of the mail's id, so that it is the same each time."""
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = mail.to
    message["Subject"] = mail.subject
    message["Date"] = formatdate()
    message["Message-ID"] = f"<{mail.id}@{sender.rpartition('@')[2]}>"
    message.set_content(mail.body)
    return message
