"""The readers of each module's events. Their progress is kept in the store of the module that reads.

Programs before layout 2 kept it in the store of the module that records the events. It is moved when an app starts:
first it is written at its new place, unless it is there already, then it is removed from the old one. So an interrupted
start is completed by the next one, and if two processes do it at once, one of them does nothing.
"""

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
    """Move the progress that an older program kept in other modules' stores."""
    for reader in readers:
        source, home = stores[reader.source], stores[reader.home]
        position = await source.checkpoint(reader.name)
        if not position:
            continue
        entries = await source.parked(reader.name)
        moved = Changeset(
            checkpoint_at_most=(reader.full_name, 0),
            checkpoint=(reader.full_name, position),
            parked=await _with_events(source, reader, entries),
        )
        try:
            await write_alone(home, moved)
        except PositionPassed:
            log.info("a reader was moved already", reader=reader.full_name)
        unparked = [(reader.name, entry.position) for entry in entries]
        await write_alone(source, Changeset(checkpoint=(reader.name, 0), unparked=unparked))
        about = {"reader": reader.full_name, "position": position, "parked": len(entries)}
        log.warning("a reader's progress was moved to its own module's store", **about)


async def _with_events(source: Store, reader: Reader, entries: Sequence[ParkedEvent]) -> list[ParkedEvent]:
    """The parked events, under the reader's full name and with the events themselves."""
    events = {
        event.position: event
        for key in dict.fromkeys(entry.key for entry in entries)
        for event in await source.parked_events(reader.name, key, len(entries))
    }
    return [
        msgspec.structs.replace(entry, subscription=reader.full_name, event=events[entry.position]) for entry in entries
    ]
