"""Notices a module's store that was restored from a backup older than the stores of the other modules.

Modules build on each other: a policy's progress lies in the store of the module that records the events, what it has
done lies in its own. When one of the two is restored alone, what was done since the backup is lost, nothing is given to
the policy again, and each store by itself is as it should be.

So each store holds a note, and the notes are written in rounds that are numbered. A note also says which round all the
stores had reached before it was written. A store whose own round is smaller than that is older than it was: it was
restored. This gives no false alarm when a process dies in the middle of a round, and none when two processes write
rounds at once, because a note is only replaced by a process that has read it, and only by a larger number.

A note says how far the policies were that work on its store. Their progress is read before the note is written, so what
they had done by then is in the store, and after a restore they can go on from there: what they do a second time has the
keys of the first time.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec
import structlog

from craton.application.codec import decode, encode_text
from craton.application.errors import MisuseError, WiringError
from craton.ports import Changeset, Document, DocumentChanged, Fence, Store, StoreUnavailable
from craton.runtime.committer import write_alone
from craton.runtime.process.attempt import heed_cancellation
from craton.runtime.projections.handler import describe
from craton.runtime.subscriptions.lease import LEASE_SECONDS

DOCUMENT: Final = "round"
ROUND_SECONDS: Final = 2.0
LAST_ROUND_SECONDS: Final = 1.0

log = structlog.get_logger("craton.rounds")


class Reader(msgspec.Struct, frozen=True):
    """A subscription to the feed of module `source` that changes what other `modules` have stored."""

    name: str
    source: str
    modules: frozenset[str]

    @property
    def full_name(self) -> str:
        return f"{self.name}@{self.source}"


class Note(msgspec.Struct, frozen=True):
    """What a store says of itself and of the others."""

    round: int
    all_reached: int
    """The round that the stores of all `modules` had got to before."""
    modules: frozenset[str]
    time: datetime
    readers: dict[str, int]
    """How far the readers were that change what this store holds."""


class Rounds:
    """The notes in the stores of an app."""

    def __init__(
        self, app: str, stores: Mapping[str, Store], readers: Sequence[Reader], clock: Callable[[], datetime]
    ) -> None:
        self._app = app
        self._stores = stores
        self._readers = readers
        self._clock = clock
        self._noted: object = None

    async def check(self) -> None:
        """Raises `WiringError` when a store is older than the others."""
        problems = await self.problems()
        if problems:
            raise WiringError(f"app {self._app}: " + "\n".join(problems))

    async def problems(self) -> list[str]:
        """A sentence for each store that is older than the others."""
        notes = {name: note for name, (_, note) in (await self._read()).items()}
        problems = []
        for name, note in notes.items():
            reached = 0 if note is None else note.round
            newer = [
                other for other, told in notes.items() if told and name in told.modules and told.all_reached > reached
            ]
            if newer:
                time = "new" if note is None else f"of {note.time.isoformat(sep=' ', timespec='seconds')}"
                problems.append(
                    f"module {name}: its store is {time}, older than what {', '.join(newer)} has seen of it. It was "
                    f"restored alone: what was done in it since is lost, though others rely on it. Restore all stores "
                    f"of one moment; or have the policies that work on it go on from that time with "
                    f"`craton restored {name}`."
                )
        return problems

    async def run(self) -> None:
        """Write a round now and then, if anything has happened, until cancelled."""
        while True:
            heed_cancellation()
            try:
                await self._write_if_due()
            except StoreUnavailable as problem:
                log.warning("a store is unavailable", reason=str(problem))
            except Exception:
                log.exception("a round of notes failed and will be tried again")
            await asyncio.sleep(ROUND_SECONDS)

    async def end(self) -> None:
        """Write what there is to note at last; it doesn't take long, or isn't done."""
        try:
            async with asyncio.timeout(LAST_ROUND_SECONDS):
                await self._write_if_due()
                await self._write_if_due()
        except Exception as problem:  # the stores are to be closed all the same
            log.warning("the last round of notes isn't written", reason=describe(problem))

    async def _write_if_due(self) -> None:
        """Write a round if something has happened since the last one, and another that says that all have got it."""
        if len(self._stores) < 2:
            return
        positions = await self._positions()
        now = [await store.head() for store in self._stores.values()], positions
        if self._noted != (now, "all"):
            await self._write(positions)
            self._noted = (now, "all") if self._noted == (now, "written") else (now, "written")

    async def _positions(self) -> dict[str, int]:
        return {reader.full_name: await self._stores[reader.source].checkpoint(reader.name) for reader in self._readers}

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
                    reader.full_name: positions[reader.full_name] for reader in self._readers if name in reader.modules
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
        """Have the readers that work on a restored store go on from where they were when the backup was made.

        Returns a sentence for each. Raises `MisuseError` when the store isn't older than the others, or when a process
        runs one of the readers.
        """
        if not any(problem.startswith(f"module {module}:") for problem in await self.problems()):
            raise MisuseError(f"the store of {module} isn't older than those of the other modules")
        _, note = (await self._read())[module]
        told = []
        for reader in self._readers:
            if module in reader.modules:
                position = 0 if note is None else note.readers.get(reader.full_name, 0)
                await self._rewind(reader, position, owner)
                told.append(f"{reader.full_name} goes on behind position {position}.")
        await self._write(await self._positions())
        await self._write(await self._positions())
        return told

    async def _rewind(self, reader: Reader, position: int, owner: str) -> None:
        store = self._stores[reader.source]
        number = await store.acquire(reader.name, owner, LEASE_SECONDS)
        if number is None:
            raise MisuseError(f"a process runs {reader.full_name}; stop it first")
        parked = [(entry.subscription, entry.position) for entry in await store.parked(reader.name)]
        position = min(position, await store.checkpoint(reader.name))
        unit = Changeset(
            fence=Fence(reader.name, number),
            checkpoint=(reader.name, position),
            unparked=[(name, at) for name, at in parked if at > position],
        )
        await write_alone(store, unit)
        await store.release(reader.name, owner)
