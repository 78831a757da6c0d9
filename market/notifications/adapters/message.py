"""A mail as it is transmitted: the headers and the text."""

from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate

from market.notifications.ports import Mail, MailRefused


def compose(mail: Mail, sender: str) -> EmailMessage:
    """The message of a mail. Its Message-ID contains the mail's id, so it is the same at each attempt.

    Raises `MailRefused` for an address that the header would change.
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = mail.to
    message["Subject"] = mail.subject
    message["Date"] = formatdate()
    message["Message-ID"] = f"<{mail.id}@{sender.rpartition('@')[2]}>"
    message.set_content(mail.body)
    if [recipient.addr_spec for recipient in message["To"].addresses] != [mail.to]:
        raise MailRefused(reason="its address would be read as another one")
    return message
