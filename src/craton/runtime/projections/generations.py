"""The record of a projection's generations, and the tables of each.

A generation is a set of tables and what fills them: a subscription of its own or, for an inline projection, the
commits of the events themselves. One document says which generation is live, which is being built and which was live
before. Only a process that has read its revision can replace it, in the commit that creates a new generation's tables.

A second document says, for the whole module, which inline generations are live. Every unit that appends names the
revision of this document that it was made for. So a process can't write an event if it doesn't know all the inline
projections that need a row of it: because it runs an older program, or has learned of a swap too late.
"""

import contextlib
from math import inf

import msgspec

from craton.application.codec import canonical, decode, encode_text, fingerprint
from craton.application.projection import ProjectionDefinition
from craton.domain import world
from craton.ports import (
    INLINE,
    Changeset,
    Document,
    DocumentChanged,
    SerializationConflict,
    Store,
    Table,
    TableTaken,
)
from craton.runtime.committer import write_alone


class Generation(msgspec.Struct, frozen=True):
    """One build of a projection: a number, and what it depends on."""

    number: int
    version: int
    shape: str
    """A digest of the shapes of its rows' classes."""
    inline: bool | None = None
    """None in the record of an older version of the toolkit; `adopt` fills it in, and the fields below."""
    events: tuple[str, ...] = ()
    """The names of the events that it is derived from."""
    tables: tuple[Table, ...] = ()
    indexed: bool = False
    """Whether its tables had all their indexes from the beginning."""


class Generations(msgspec.Struct, frozen=True, kw_only=True):
    """The recorded state of a projection's generations."""

    live: Generation | None = None
    building: Generation | None = None
    previous: Generation | None = None
    newest: int
    """The largest number that was used."""


class LiveInline:
    """The live inline generations of one module, by projection, as this process knows them."""

    def __init__(self, store: Store) -> None:
        self.revision = 0
        self.generations: dict[str, Generation] = {}
        self._store = store

    async def refresh(self) -> bool:
        """Read them again, because another process may have changed them. Returns whether anything changed."""
        before = self.revision
        document = await self._store.document(INLINE)
        if document is not None:
            self.take(document)
        return self.revision != before

    def take(self, document: Document) -> None:
        """Take over the document's content, unless a newer one is known."""
        if document.revision > self.revision:
            self.revision, self.generations = document.revision, decode(dict[str, Generation], document.body)

    def changed(self, projection: str, live: Generation | None) -> Document | None:
        """The document with this live generation of a projection; None if it contains it already."""
        inline = live if live is not None and live.inline else None
        if self.generations.get(projection) == inline:
            return None
        others = {name: generation for name, generation in self.generations.items() if name != projection}
        body = others if inline is None else others | {projection: inline}
        return Document(INLINE, self.revision + 1, encode_text(body))


class GenerationRecord:
    """The generations of one projection, as this process knows them and changes them."""

    def __init__(self, kind: ProjectionDefinition, store: Store, inline: LiveInline, source: str = "") -> None:
        """`source` is the module whose log it reads, if that isn't its own."""
        self.state = Generations(newest=0)
        self.document = _document(kind.name)
        self.revision = 0
        self.refreshed = -inf
        """When the newest completed reading of the record began."""
        shapes = [row_type.shape for row_type in kind.rows.values()]
        used = [] if kind.settings is None else [canonical(kind.settings)]
        self.shape = fingerprint([*shapes, *used, *filter(None, [source])])
        self._kind = kind
        self._store = store
        self._inline = inline
        self._compared: Generation | None = None
        self._readable: Generation | None = None
        """The generation that was compared last, if this program can read it."""

    def is_current(self, generation: Generation | None) -> bool:
        """Whether a generation was made by this version of the program; others are left alone."""
        return generation is not None and generation == self.new_generation(
            generation.number, indexed=generation.indexed
        )

    def readable(self) -> Generation | None:
        """The live generation, if this program can read its rows and keeps it in the way it is kept."""
        live = self._inline.generations.get(self._kind.name) if self._kind.inline else self.state.live
        if live is not self._compared:
            fits = live is not None and live.shape == self.shape and live.tables == self._tables(live.number)
            self._compared, self._readable = live, live if fits else None
        return self._readable

    def new_generation(self, number: int, *, indexed: bool = False) -> Generation:
        """A generation with this number, for this program."""
        kind = self._kind
        return Generation(
            number, kind.version, self.shape, kind.inline, kind.event_names, self._tables(number), indexed
        )

    def subscription(self, generation: int) -> str:
        """The name of the subscription that fills a generation."""
        return f"{self._kind.name}@{generation}"

    async def refresh(self) -> Generations:
        """Read the record again, because another process may have changed it."""
        began = world.monotonic()
        document = await self._store.document(self.document)
        if document is not None and document.revision > self.revision:
            await (
                self._inline.refresh()
            )  # read first: if this failed after the record was read, it would stay outdated unnoticed
            if document.revision > self.revision:
                self.revision, self.state = document.revision, decode(Generations, document.body)
        self.refreshed = max(self.refreshed, began)
        return self.state

    async def adopt(self) -> None:
        """Add what an older version of the toolkit didn't record: that this program made the generations."""
        while (state := await self.refresh()) != (adopted := self._adopted(state)):
            with contextlib.suppress(DocumentChanged, SerializationConflict):  # another process was faster
                await self.replace(state, adopted)
                if state.building is not None and adopted.building is None:
                    await self.drop(state.building)

    def _adopted(self, state: Generations) -> Generations:
        begun_before = (
            state.building is not None and state.building.inline is None
        )  # its unique columns aren't unique yet
        return msgspec.structs.replace(
            state,
            live=self._adopted_one(state.live),
            building=None if begun_before else state.building,
            previous=self._adopted_one(state.previous),
        )

    def _adopted_one(self, generation: Generation | None) -> Generation | None:
        if generation is None or generation.inline is not None or generation.shape != self.shape:
            return generation
        tables = self._tables(generation.number)
        if [table.name for table in tables] != self._old_names(generation.number):
            return generation  # its name was cut off by the database, or is formed differently today: it is built again
        return msgspec.structs.replace(
            generation, inline=self._kind.inline, events=self._kind.event_names, tables=tables
        )

    async def replace(
        self,
        seen: Generations,
        state: Generations,
        unit: Changeset | None = None,
    ) -> int:
        """Replace the recorded state that was seen by this one, and create the tables of new generations.

        `unit` is what else is written in that commit, and on what conditions. Returns the position of its last event.

        Raises `DocumentChanged`, `PositionPassed`, `SerializationConflict`, or `TableTaken` if another projection with
        the same rows has already used a new generation's number.
        """
        if self.state is not seen:
            raise DocumentChanged(f"{self.document} was changed by another")
        document = Document(self.document, self.revision + 1, encode_text(state))
        inline = self._inline.changed(self._kind.name, state.live)
        new = [made for made in (state.live, state.building) if made is not None and made.number > seen.newest]
        unit = unit or Changeset()
        unit.documents = [document] if inline is None else [document, inline]
        unit.tables = [table for made in new for table in made.tables]
        unit.indexes = [table for made in new if made.indexed for table in made.tables]
        try:
            position = await write_alone(self._store, unit)
        except DocumentChanged:
            await self._inline.refresh()
            raise
        self.revision, self.state = document.revision, state
        if inline is not None:
            self._inline.take(inline)
        return position

    def with_new_generation(self, seen: Generations) -> Generations:
        """The record with a new generation, unless its number is taken."""
        number = seen.newest + 1
        return msgspec.structs.replace(seen, building=self.new_generation(number), newest=number)

    async def begin(
        self, seen: Generations, unit: Changeset | None = None, *, live: bool = False, indexed: bool = False
    ) -> int:
        """Record a new generation and create its tables, in one commit; a generation that was being built is given up.

        `live`: it is so at once, since there are no events yet. Returns and raises what `replace` does, but
        `TableTaken`.
        """
        number = seen.newest
        if live:
            unit = Changeset(head_at_most=0)
        while True:
            number += 1
            new = self.new_generation(number, indexed=live or indexed)
            state = msgspec.structs.replace(seen, **{"live" if live else "building": new}, newest=number)
            with contextlib.suppress(TableTaken):  # a projection of another name has, or had, the same rows
                position = await self.replace(seen, state, unit)
                break
        if seen.building is not None:
            await self.drop(seen.building)
        return position

    async def begin_anew(self, seen: Generations) -> None:
        """Record a new generation and give up all others, which have read what isn't in the log any more.

        Raises `DocumentChanged`.
        """
        new = self.new_generation(seen.newest + 1)
        await self.replace(seen, Generations(building=new, newest=new.number))
        for generation in (seen.live, seen.building, seen.previous):
            if generation is not None:
                await self.drop(generation)

    async def parked(self, generation: Generation) -> list[int]:
        """The positions of the events that are parked for a generation."""
        return [entry.position for entry in await self._store.parked(self.subscription(generation.number))]

    def swaps_at_head(self, state: Generations) -> bool:
        """Whether a generation becomes live only when it has all events: if it or the live one is inline."""
        return self._kind.inline or (state.live is not None and bool(state.live.inline))

    async def create_indexes(self, generation: Generation) -> None:
        """Create the indexes that its tables don't have yet. Raises `StatementFailed` if a row doesn't fit in one."""
        for table in generation.tables:
            await self._store.create_indexes(table)

    async def drop(self, generation: Generation) -> None:
        """Drop the tables of a generation that is no longer recorded, and its parked events."""
        names = [table.name for table in generation.tables] or self._old_names(generation.number)
        for name in names:
            await self._store.drop_table(name)
        subscription = self.subscription(generation.number)
        parked = [entry.position for entry in await self._store.parked(subscription)]
        parked += await self._store.dropped(subscription)
        if parked:
            await write_alone(self._store, Changeset(unparked=[(subscription, position) for position in parked]))

    def _tables(self, number: int) -> tuple[Table, ...]:
        return tuple(row_type.table(number) for row_type in self._kind.rows.values())

    def _old_names(self, number: int) -> list[str]:
        """The names that older versions of the toolkit, which didn't record it, gave to the tables."""
        return [f"view_{row_type.name}_{number}" for row_type in self._kind.rows.values()]


async def retire(projection: str, store: Store, inline: LiveInline) -> None:
    """Remove a projection that the program no longer has from the live inline projections.

    Raises `DocumentChanged` or `SerializationConflict`.
    """
    document = await store.document(_document(projection))
    without = inline.changed(projection, None)
    if document is None or without is None:
        return
    state = decode(Generations, document.body)
    retired = msgspec.structs.replace(state, live=None, previous=state.live)
    changed = Document(document.name, document.revision + 1, encode_text(retired))
    await write_alone(store, Changeset(documents=[changed, without]))
    inline.take(without)


def _document(projection: str) -> str:
    return f"projection/{projection}"
