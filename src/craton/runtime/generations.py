"""What is recorded of a projection's generations, and the tables of each.

A generation is a set of tables and a subscription of its own. Which one is live, which is being built and which was
live before stands in one document, replaced only by who has seen its revision.
"""

from math import inf
from time import monotonic

import msgspec

from craton.application.codec import decode, encode_text, fingerprint
from craton.application.projection import Projection
from craton.ports import Document, DocumentChanged, Store, StoredResult, Unit
from craton.runtime.committer import write_alone


class Generation(msgspec.Struct, frozen=True):
    """One build of a projection: a number, and the program's version and shape of rows that it is made by."""

    number: int
    version: int
    shape: str


class Generations(msgspec.Struct, frozen=True, kw_only=True):
    """What is recorded of a projection."""

    live: Generation | None = None
    building: Generation | None = None
    previous: Generation | None = None
    newest: int
    """The largest number that was given out."""


class GenerationRecord:
    """The generations of one projection, as this process knows them and changes them."""

    def __init__(self, kind: type[Projection], store: Store) -> None:
        self.state = Generations(newest=0)
        self.document = f"projection/{kind.name}"
        self.revision = 0
        self.refreshed = -inf
        """When the newest look at the record began that has ended."""
        self.shape = fingerprint([row_type.shape for row_type in kind.rows.values()])
        self._kind = kind
        self._store = store

    def ours(self, generation: Generation | None) -> bool:
        """Whether a generation is made by this version of the program; another's is left to it."""
        return generation is not None and generation.version == self._kind.version and generation.shape == self.shape

    def readable(self) -> Generation | None:
        """The live generation, if this program can read its rows."""
        live = self.state.live
        return live if live is not None and live.shape == self.shape else None

    def made(self, number: int) -> Generation:
        """A generation with this number, made by this program."""
        return Generation(number, self._kind.version, self.shape)

    def subscription(self, generation: int) -> str:
        """The name of the subscription that fills a generation."""
        return f"{self._kind.name}@{generation}"

    async def refresh(self) -> Generations:
        """Read again what is recorded: another process may have changed it."""
        began = monotonic()
        document = await self._store.document(self.document)
        if document is not None and document.revision > self.revision:  # else another look, begun later, was faster
            self.revision, self.state = document.revision, decode(Generations, document.body)
        self.refreshed = max(self.refreshed, began)
        return self.state

    async def replace(
        self,
        seen: Generations,
        state: Generations,
        *,
        checkpoint_at_most: tuple[str, int] | None = None,
        head_at_most: int | None = None,
        result: StoredResult | None = None,
    ) -> None:
        """Make this the state in the place of the one that was seen. Raises `DocumentChanged` or `PositionPassed`."""
        if self.state is not seen:
            raise DocumentChanged(f"{self.document} was changed by another")
        document = Document(self.document, self.revision + 1, encode_text(state))
        unit = Unit(
            documents=[document], checkpoint_at_most=checkpoint_at_most, head_at_most=head_at_most, result=result
        )
        await write_alone(self._store, unit)
        self.revision, self.state = document.revision, state

    async def create_tables(self, generation: int, *, indexes: bool) -> None:
        for row_type in self._kind.rows.values():
            await self._store.create_table(row_type.table(generation))
        if indexes:
            await self.create_indexes(generation)

    async def create_indexes(self, generation: int) -> None:
        for row_type in self._kind.rows.values():
            await self._store.create_indexes(row_type.table(generation))

    async def drop_tables(self, generation: int) -> None:
        for row_type in self._kind.rows.values():
            await self._store.drop_table(row_type.table(generation).name)
