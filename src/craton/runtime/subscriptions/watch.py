"""Watches the log of another service: wakes its readers when it has grown, and keeps the event by which it is known.

A log that was restored from a backup loses its newest events, and new ones take their positions; readers that had
passed these would never see them. So a process keeps the newest event that it has seen, in a store of its own modules,
and asks the service to read on only if the log still has it.
"""

from typing import Final

from craton.application.codec import decode, encode_text
from craton.domain import world
from craton.ports import Changeset, Document, DocumentChanged, Store
from craton.runtime.background import keep_running
from craton.runtime.committer import write_alone
from craton.runtime.remote import LogMark, RemoteLog
from craton.runtime.subscriptions.source import Source

NOTE_SECONDS: Final = 2.0
"""How often the newest event is written down: what was read later than that isn't missed after a restart."""


class Watch:
    """`store` is that of a module that reads the log."""

    def __init__(self, source: Source, log: RemoteLog, store: Store) -> None:
        self._source = source
        self._log = log
        self._store = store
        self._position = 0
        self._noted: LogMark | None = None
        self._noted_at = 0.0

    @property
    def _name(self) -> str:
        return f"log/{self._source.module}"

    async def recall(self) -> None:
        """Tell the log by which event it is to be recognised."""
        document = await self._store.document(self._name)
        if document is not None:
            self._noted = self._log.mark = decode(LogMark, document.body)

    async def run(self) -> None:
        """Watch until cancelled."""
        await keep_running(f"wake-ups from {self._source.module}", self._look)

    async def _look(self) -> None:
        self._position = await self._log.grown(self._position)
        self._source.signal.fire()
        if self._log.mark != self._noted and world.monotonic() >= self._noted_at + NOTE_SECONDS:
            await self._note(self._log.mark)

    async def _note(self, mark: LogMark | None) -> None:
        document = await self._store.document(self._name)
        known = None if document is None else decode(LogMark, document.body)
        if mark is not None and (known is None or mark.position > known.position):
            revision = 1 if document is None else document.revision + 1
            try:
                await write_alone(self._store, Changeset(documents=[Document(self._name, revision, encode_text(mark))]))
            except DocumentChanged:
                return  # another replica was faster
        self._noted, self._noted_at = mark, world.monotonic()
