"""Mails as .eml files in a folder, for as long as there is no mail server."""

import asyncio
from pathlib import Path

from craton.application import Unavailable
from craton.domain import uuid7
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
        """Write a whole mail into a file that is named after its id. Another attempt replaces the file."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        written = self._folder / f".{mail.id}.{uuid7()}"
        written.touch(mode=0o600)
        written.write_bytes(compose(mail, self._sender).as_bytes())
        written.replace(self._folder / f"{mail.id}.eml")
