"""The readers of each module's events. Their progress is kept in the store of the module that reads.

Programs before layout 2 kept it in the store of the module that records the events, and a policy that was moved to
another module left it in the store of its former one. It is moved when an app starts: first it is written at its new
place, unless it is there already, then it is removed from the old one. So an interrupted start is completed by the next
one, and if two processes do it at once, one of them does nothing.
"""

import asyncio
from collections.abc import Mapping, Sequence

import msgspec
import structlog

from craton.ports import Changeset, ParkedEvent, PositionPassed, Store
from craton.runtime.committer import write_alone
from craton.runtime.module import reader_name

log = structlog.get_logger("craton.store")


class Reader(msgspec.Struct, frozen=True):
    """A policy, or a step of a saga that waits, as a reader of one module's log."""

    name: str
    source: str
    """The module whose events it reads."""
    home: str
    """The module that it belongs to; its store keeps the reader's progress."""
    changes: frozenset[str]
    """The modules whose stores it changes."""

    @property
    def full_name(self) -> str:
        return reader_name(self.name, self.source)


async def move_readers_home(readers: Sequence[Reader], stores: Mapping[str, Store]) -> None:
    """Move the progress of readers that lies in other stores than that of their module."""
    for reader in readers:
        home = stores[reader.home]
        former = [(stores[reader.source], reader.name)]
        former += [(store, reader.full_name) for store in stores.values() if store is not home]
        positions = await asyncio.gather(*(store.checkpoint(name) for store, name in former))
        for (store, name), position in zip(former, positions, strict=True):
            if position:
                await _move(store, name, position, home, reader.full_name)


async def _move(former: Store, former_name: str, position: int, home: Store, name: str) -> None:
    entries = await former.parked(former_name)
    moved = Changeset(
        checkpoint_at_most=(name, 0),
        checkpoint=(name, position),
        parked=await _with_events(former, former_name, name, entries),
    )
    try:
        await write_alone(home, moved)
    except PositionPassed:
        log.info("a reader was moved already", reader=name)
    unparked = [(former_name, entry.position) for entry in entries]
    await write_alone(former, Changeset(checkpoint=(former_name, 0), unparked=unparked))
    log.warning("a reader's progress was moved to its module's store", reader=name, position=position)


async def _with_events(former: Store, former_name: str, name: str, entries: Sequence[ParkedEvent]) -> list[ParkedEvent]:
    """The parked events, under the reader's present name and with the events themselves."""
    events = {
        event.position: event
        for key in dict.fromkeys(entry.key for entry in entries)
        for event in await former.parked_events(former_name, key, len(entries))
    }
    return [msgspec.structs.replace(entry, subscription=name, event=events[entry.position]) for entry in entries]
