"""Notices a module's store that was restored from a backup older than the stores of the other modules.

Modules build on each other: a policy's progress lies in the store of its module, the events that it has read in
another, and its effects may lie in a third. If one of these stores is restored alone, what was done since the backup is
lost, and the policy either misses events or finds new events at positions that it has already passed. Each store by
itself looks correct.

So each store holds a note, and the notes are written in rounds that are numbered. A note also says which round all the
stores had reached before it was written. A store whose own round is smaller than that is older than it was: it was
restored. This gives no false alarm when a process dies in the middle of a round, and none when two processes write
rounds at once, because a note is only replaced by a process that has read it, and only by a larger number.

A note says how far the policies were that work on its store. Their progress is read before the note is written, so what
they had done by then is in the store, and after a restore they can go on from there: what they do a second time has the
keys of the first time.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec
import structlog

from craton.application.codec import decode, encode_text
from craton.application.errors import MisuseError, WiringError
from craton.ports import Changeset, Document, DocumentChanged, Fence, Store
from craton.runtime.background import Clock, keep_running
from craton.runtime.committer import write_alone
from craton.runtime.compatibility.readers import Reader
from craton.runtime.projections.handler import describe
from craton.runtime.subscriptions.lease import LEASE_SECONDS

DOCUMENT: Final = "round"
ROUND_SECONDS: Final = 2.0
LAST_ROUND_SECONDS: Final = 1.0

log = structlog.get_logger("craton.rounds")


class Note(msgspec.Struct, frozen=True):
    """A store's note about itself and about the other stores."""

    round: int
    all_reached: int
    """The round that the stores of all `modules` had reached before this note was written."""
    modules: frozenset[str]
    time: datetime
    readers: dict[str, int]
    """The positions of the readers that change what this store holds."""


class Rounds:
    """The notes in the stores of an app."""

    def __init__(self, app: str, stores: Mapping[str, Store], readers: Sequence[Reader], clock: Clock) -> None:
        self._app = app
        self._stores = stores
        self._readers = [reader for reader in readers if reader.changes != {reader.source}]
        """The readers by which events of one module change the data of other modules."""
        self._clock = clock
        self._noted: object = None

    async def check(self) -> None:
        """Raise `WiringError` if a store is older than the others."""
        problems = await self.problems()
        if problems:
            raise WiringError(f"app {self._app}: " + "\n".join(problems))

    async def problems(self) -> list[str]:
        """A sentence for each store that is older than the others."""
        notes = {name: note for name, (_, note) in (await self._read()).items()}
        problems: dict[str, str] = {}
        for name, note in notes.items():
            reached = 0 if note is None else note.round
            newer = [
                other for other, told in notes.items() if told and name in told.modules and told.all_reached > reached
            ]
            if newer:
                time = "new" if note is None else f"of {note.time.isoformat(sep=' ', timespec='seconds')}"
                problems[name] = f"its store is {time}, older than what {', '.join(newer)} has seen of it"
        for reader in self._readers:
            at, head = await self._position(reader), await self._stores[reader.source].head()
            if at > head:
                why = f"its log ends at position {head}, and {reader.full_name} has read it up to position {at}"
                problems.setdefault(reader.source, why)
        return [
            f"module {name}: {why}. It was restored alone: what was done in it since is lost, though others rely on "
            f"it. Restore all stores of one moment; or have the policies that work on it go on from that time with "
            f"`craton restored {name}`."
            for name, why in problems.items()
        ]

    async def run(self) -> None:
        """Write a round from time to time, if anything has happened, until cancelled."""
        await keep_running("rounds of notes", self._write_and_wait)

    async def _write_and_wait(self) -> None:
        await self._write_if_due()
        await asyncio.sleep(ROUND_SECONDS)

    async def end(self) -> None:
        """Write a last round if there is anything to note; give up if it takes long."""
        try:
            async with asyncio.timeout(LAST_ROUND_SECONDS):
                await self._write_if_due()
                await self._write_if_due()
        except Exception as problem:  # the stores must still be closed
            log.warning("the last round of notes was not written", reason=describe(problem))

    async def _write_if_due(self) -> None:
        """Write a round if something has happened since the last one, then a second one to note that all have reached
        it."""
        if len(self._stores) < 2:
            return
        positions = await self._positions()
        now = [await store.head() for store in self._stores.values()], positions
        if self._noted != (now, "all"):
            await self._write(positions)
            self._noted = (now, "all") if self._noted == (now, "written") else (now, "written")

    async def _positions(self) -> dict[str, int]:
        return {reader.full_name: await self._position(reader) for reader in self._readers}

    async def _position(self, reader: Reader) -> int:
        return await self._stores[reader.home].checkpoint(reader.full_name)

    async def _write(self, positions: dict[str, int]) -> None:
        found = await self._read()
        rounds = [0 if note is None else note.round for _, note in found.values()]
        for name, (document, _) in found.items():
            note = Note(
                round=max(rounds) + 1,
                all_reached=min(rounds),
                modules=frozenset(self._stores),
                time=self._clock(),
                readers={
                    reader.full_name: positions[reader.full_name] for reader in self._readers if name in reader.changes
                },
            )
            revision = 1 if document is None else document.revision + 1
            try:
                await write_alone(
                    self._stores[name], Changeset(documents=[Document(DOCUMENT, revision, encode_text(note))])
                )
            except DocumentChanged:
                return  # another process writes a round

    async def _read(self) -> dict[str, tuple[Document | None, Note | None]]:
        documents = await asyncio.gather(*(store.document(DOCUMENT) for store in self._stores.values()))
        return {
            name: (document, None if document is None else decode(Note, document.body))
            for name, document in zip(self._stores, documents, strict=True)
        }

    async def accept(self, module: str, owner: str) -> list[str]:
        """Let the readers that work on a restored store continue from their positions at the time of the backup.

        Returns a sentence for each reader. Raises `MisuseError` if the store isn't older than the others, or if a
        process runs one of the readers.
        """
        if not any(problem.startswith(f"module {module}:") for problem in await self.problems()):
            raise MisuseError(f"the store of {module} isn't older than those of the other modules")
        _, note = (await self._read())[module]
        told = []
        for reader in self._readers:
            if module in reader.changes or module == reader.source:
                position = 0 if note is None else note.readers.get(reader.full_name, 0)
                if module not in reader.changes:
                    position = await self._stores[module].head()  # the events that it has read beyond this are lost
                await self._rewind(reader, position, owner)
                told.append(f"{reader.full_name} goes on behind position {position}.")
        await self._write(await self._positions())
        await self._write(await self._positions())
        return told

    async def _rewind(self, reader: Reader, position: int, owner: str) -> None:
        store = self._stores[reader.home]
        number = await store.acquire(reader.full_name, owner, LEASE_SECONDS)
        if number is None:
            raise MisuseError(f"a process runs {reader.full_name}; stop it first")
        parked = [entry.position for entry in await store.parked(reader.full_name)]
        set_aside = (*parked, *await store.dropped(reader.full_name))  # of other events than those that come there now
        position = min(position, await store.checkpoint(reader.full_name))
        unit = Changeset(
            fence=Fence(reader.full_name, number),
            checkpoint=(reader.full_name, position),
            unparked=[(reader.full_name, at) for at in set_aside if at > position],
        )
        await write_alone(store, unit)
        await store.release(reader.full_name, owner)
