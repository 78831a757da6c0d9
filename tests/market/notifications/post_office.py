"""A real SMTP server that refuses what a test says, and keeps the mails that it gets."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.message import Message
from email.policy import default
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult

from craton.testing import until


class PostOfficeBox:
    """A mailbox with a server in front of it.

    `refused`: the answers to mail for some addresses. `refuse_data` and `refuse_sender`: the answer to any text, and to
    any sender.
    """

    def __init__(
        self, refused: Mapping[str, str] | None = None, refuse_data: str = "", refuse_sender: str = ""
    ) -> None:
        self.refused = dict(refused or {})
        self.refuse_sender = refuse_sender
        self.refuse_data = refuse_data
        self.raw: list[bytes] = []
        self.tried: Counter[str] = Counter()
        self.port = 0

    @property
    def mails(self) -> list[Message]:
        return [message_from_bytes(raw, policy=default) for raw in self.raw]

    def subjects(self, address: str) -> list[str]:
        """The subjects of the mails that an address has got, in order."""
        return [str(mail["subject"]) for mail in self.mails if address in str(mail["to"])]

    async def arrived(self, address: str, *subjects: str, seconds: float = 15) -> None:
        """Wait until an address has got these mails; check that it has got no others."""

        async def all_there() -> bool:
            return len(self.subjects(address)) >= len(subjects)

        await until(all_there, seconds)
        assert sorted(self.subjects(address)) == sorted(subjects)

    # what aiosmtpd calls

    async def handle_MAIL(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if self.refuse_sender:
            return self.refuse_sender
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        self.tried[address] += 1
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.refuse_data:
            return self.refuse_data
        self.raw.append(bytes(envelope.content))
        return "250 taken"

    @asynccontextmanager
    async def open(
        self, port: int = 0, *, user: Callable[[Any], AuthResult] | None = None
    ) -> AsyncIterator["PostOfficeBox"]:
        """Serve while the block lasts. With `user`, clients can log in."""
        options: dict[str, Any] = {"hostname": "localhost", "enable_SMTPUTF8": True}
        if user is not None:
            options |= {
                "authenticator": lambda _server, _session, _envelope, _mechanism, data: user(data),
                "auth_require_tls": False,
            }
        connections: set[SMTP] = set()

        def connect() -> SMTP:
            connection = SMTP(self, **options)
            connections.add(connection)
            return connection

        server = await asyncio.get_running_loop().create_server(connect, "127.0.0.1", port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for connection in connections:
                if connection.transport is not None:
                    connection.transport.close()
            await server.wait_closed()
            await asyncio.sleep(0.01)

    @property
    def settings(self) -> dict[str, str]:
        """The settings that make the market use it."""
        return {
            "CRATON_NOTIFICATIONS_SMTP_HOST": "127.0.0.1",
            "CRATON_NOTIFICATIONS_SMTP_PORT": str(self.port),
            "CRATON_NOTIFICATIONS_SMTP_TLS": "false",
            "CRATON_NOTIFICATIONS_SENDER": "market@shop.example.org",
        }
