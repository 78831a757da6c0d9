"""A mail as it goes over the wire."""

from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate

from market.notifications.ports import Mail, MailRefused


def compose(mail: Mail, sender: str) -> EmailMessage:
    """The message; its Message-ID is made of the mail's id, so that it is the same each time.

    Raises `MailRefused` for an address that a mail can't hold as it is.
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = mail.to
    message["Subject"] = mail.subject
    message["Date"] = formatdate()
    message["Message-ID"] = f"<{mail.id}@{sender.rpartition('@')[2]}>"
    message.set_content(mail.body)
    if [recipient.addr_spec for recipient in message["To"].addresses] != [mail.to]:
        raise MailRefused(reason="the address would be read as another one")
    return message
