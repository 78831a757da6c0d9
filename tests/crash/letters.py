"""A process with a policy that writes a line for each event, as it would send a letter. Run by the tests beside it.

    python -m tests.crash.letters LETTERS STORES DATA POINT

It prints a line when all is done. `POINT`: after so many letters it kills itself; 0 for never.
`BLOCK`, in the environment: how many seconds each letter blocks the process, with leases of a third of that.
"""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from craton.adapters.stores import stores
from craton.application import Api, Module, Policy, Repository, command
from craton.domain import Aggregate, Event, Id, Recorded
from craton.runtime import App
from craton.runtime.subscriptions import lease, subscription

EVENTS = 200
BLOCKED_EVENTS = 8


class NoteId(Id):
    pass


class Written(Event):
    number: int


class Note(Aggregate[NoteId]):
    def apply(self, event: Written) -> None:
        """Nothing is remembered."""


class Notes(Api):
    @command
    async def write(self, number: int) -> None: ...


class NoteService(Notes):
    def __init__(self, notes: Repository[Note]) -> None:
        self._notes = notes

    async def write(self, number: int) -> None:
        self._notes.add(Note.begin(NoteId.new(), Written(number=number)))


class Letters:
    """Sends letters: one line each, whatever becomes of the process."""

    def __init__(self, path: Path, point: int, block: float) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        self._point = point
        self._block = block
        self._sent = 0

    def send(self, number: int) -> None:
        os.write(self._file, f"{number}\n".encode())
        self._sent += 1
        time.sleep(self._block)
        if self._sent == self._point:
            os.kill(os.getpid(), signal.SIGKILL)


class Writer(Policy):
    """Whenever something is written, send a letter."""

    async def react(self, event: Recorded[Written], letters: Letters) -> None:
        letters.send(event.data.number)


async def run(letters: Letters, url: str, data: Path, events: int) -> None:
    module = Module("notes", api=Notes, service=NoteService, policies=[Writer], provides={Letters: letters})
    app = App("letters", modules=[module])
    async with app.run(stores(url, data, "letters"), subscriptions=False) as writing:
        store = writing.running["notes"].store
        if await store.head() == 0:
            await asyncio.gather(*(writing.api(Notes).write(number) for number in range(events)))
    async with app.run(stores(url, data, "letters")) as running:
        store = running.running["notes"].store
        while await store.checkpoint("notes.writer@notes") < await store.head():
            await asyncio.sleep(0.05)
    sys.stdout.write("done\n")


if __name__ == "__main__":
    letters, url, data, point = sys.argv[1:]
    block = float(os.environ.get("BLOCK", "0"))
    if block:
        lease.LEASE_SECONDS = subscription.LEASE_SECONDS = block / 3  # type: ignore[misc, attr-defined]
        lease.ASK_SECONDS = block / 10  # type: ignore[misc]
    count = BLOCKED_EVENTS if block else EVENTS
    asyncio.run(run(Letters(Path(letters), int(point), block), url, Path(data), count))
