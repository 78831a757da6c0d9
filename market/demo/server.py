"""The market as a process of its own."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path
from typing import cast

from craton.domain.world import random_text

PAYMENT_PATIENCE_SECONDS = 8


class Server:
    """`craton up` as a process, with a data folder of its own."""

    def __init__(self, folder: Path, store: str) -> None:
        self.folder = folder
        self.mail = folder / "mail"
        self.admin_password = random_text(12)
        self._where = ["--store", store, "--data", str(folder / "data")]
        self._environment = os.environ | {
            "COLUMNS": "200",
            "CRATON_APP": "market.demo.app:app",
            "CRATON_LOG": "error",
            "CRATON_IDENTITY_ADMIN_PASSWORD": self.admin_password,
            "CRATON_NOTIFICATIONS_FOLDER": str(self.mail),
            "CRATON_NOTIFICATIONS_LETTERS_A_DAY": "1000",
            "CRATON_PAYMENTS_PATIENCE": str(PAYMENT_PATIENCE_SECONDS),
        }
        self.url = ""

    async def start(self) -> None:
        self._process = await self._craton("up", *self._where, "--port", "0", "--empty")
        async for line in cast(asyncio.StreamReader, self._process.stdout):
            if found := re.search(rb"API +(http://\S+)", line):
                self.url = found[1].decode()
                return
        raise RuntimeError("The market hasn't started; its output above says why.")

    async def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    async def stop(self) -> None:
        if self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    async def verify(self) -> bool:
        """Whether `craton verify` finds no problem. Writes the problems that it finds to the standard error."""
        process = await self._craton("verify", *self._where)
        found, _ = await process.communicate()
        if process.returncode:
            sys.stderr.write(found.decode())
        return process.returncode == 0

    async def _craton(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "craton", *arguments, env=self._environment, stdout=asyncio.subprocess.PIPE
        )
