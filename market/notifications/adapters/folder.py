"""Mails as .eml files in a folder: what is used as long as there is no mail server."""

import asyncio
from pathlib import Path
from uuid import uuid4

from craton.application import Unavailable
from market.notifications.adapters.message import compose
from market.notifications.ports import Mail


class FolderMailer:
    def __init__(self, folder: Path, sender: str) -> None:
        self._folder = folder
        self._sender = sender

    async def send(self, mail: Mail) -> None:
        try:
            await asyncio.to_thread(self._write, mail)
        except OSError as problem:
            raise Unavailable(
                f"The mail can't be written to {self._folder}: {problem.strerror}.", maybe_executed=False
            ) from problem

    def _write(self, mail: Mail) -> None:
        """Under the mail's id: one that is sent again replaces itself. It is there whole, or not at all."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        written = self._folder / f".{mail.id}.{uuid4().hex}"
        written.touch(mode=0o600)
        written.write_bytes(compose(mail, self._sender).as_bytes())
        written.replace(self._folder / f"{mail.id}.eml")
