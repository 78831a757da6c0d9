"""Mails by SMTP."""

import aiosmtplib

from craton.adapters.breaker import Breaker
from craton.application import Unavailable
from craton.domain import Secret
from market.notifications.adapters.message import compose
from market.notifications.ports import Mail, MailDelayed, MailRefused

TIMEOUT_SECONDS = 8.0
PERMANENT_CODES = range(500, 600)


class SmtpMailer:
    """Sends mail through an SMTP server. With `tls`, the server must support STARTTLS.

    Without it, mails and the password would be sent unencrypted.
    """

    def __init__(
        self, host: str, port: int, *, sender: str, user: str | None, password: Secret | None, tls: bool
    ) -> None:
        self._breaker = Breaker("The mail server")
        self._host, self._port = host, port
        self._sender = sender
        self._user, self._password = user, password
        self._tls = tls

    async def send(self, mail: Mail) -> None:
        async with self._breaker.asking():
            await self._send(mail)

    async def _send(self, mail: Mail) -> None:
        try:
            await aiosmtplib.send(
                compose(mail, self._sender),
                sender=self._sender,
                recipients=[mail.to],
                hostname=self._host,
                port=self._port,
                username=self._user,
                password=None if self._password is None else self._password.reveal(),
                start_tls=self._tls,
                timeout=TIMEOUT_SECONDS,
            )
        except aiosmtplib.SMTPRecipientsRefused as refused:
            self._judge(refused.recipients[0].code)
        except aiosmtplib.SMTPDataError as refused:
            self._judge(refused.code)
        except aiosmtplib.SMTPResponseException as refused:
            why = f"The mail server refuses all mail: it answered {refused.code}."
            raise Unavailable(why, maybe_executed=False) from None
        except (aiosmtplib.SMTPException, OSError) as problem:
            why = type(problem).__name__
            raise Unavailable(f"The mail server can't be reached: {why}.", maybe_executed=True) from None

    @staticmethod
    def _judge(code: int) -> None:
        """Raise the refusal that a reply code stands for: codes from 500 on are final, and lower ones are temporary."""
        refusal = MailRefused if code in PERMANENT_CODES else MailDelayed
        raise refusal(reason=f"the mail server answered {code}")
