"""The names that a module's store may hold. A program that lacks one of them isn't started on the store.

Data stored under a name that the program doesn't know would be ignored silently. So each start records the program's
names in a document, and compares the names that were recorded before with the program. A missing name is only refused
if data is stored under it: the log is searched from the position where the name was first recorded, because no data
can lie before it. The same holds for the shape of an event, which the document keeps as it was at each change.

Projections can be built again from the log. One that is missing is refused only if another one is new, because that may
be the same one renamed, whose tables would stay behind. A running process isn't checked when another one is started.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, get_args

import msgspec
import structlog
from msgspec.structs import replace

from craton.application.codec import decode, encode_text
from craton.application.errors import WiringError
from craton.application.module import TOOLKIT_AGGREGATES, Module
from craton.application.operators import OperatorActed, OperatorLog
from craton.application.sagas.events import SagaCompensated, SagaCompleted, SagaEvent, SagaResolved, SagaStarted
from craton.application.sagas.index import SagaIndex
from craton.application.sagas.rules import SagaProcess
from craton.application.shapes import Shape, shape_of, unreadable
from craton.domain import Event
from craton.ports import Changeset, Document, DocumentChanged, EventKind, Store, StoredEvent
from craton.runtime.committer import write_alone

DOCUMENT: Final = "names"
PAGE: Final = 5_000
LATE_POSITIONS: Final = 10_000
"""A commit with a position so far below the newest one has certainly ended."""
_OWN_EVENTS: Final = {
    SagaProcess.stream_prefix: frozenset(kind.__name__ for kind in get_args(SagaEvent)),
    OperatorLog.stream_prefix: frozenset((OperatorActed.__name__,)),
}
"""The toolkit's own events, by the prefix of their streams."""
_OWN_NAMES: Final = frozenset[str]().union(*_OWN_EVENTS.values())
_ENDINGS: Final = frozenset(kind.__name__ for kind in (SagaCompleted, SagaCompensated, SagaResolved))

log = structlog.get_logger("craton.names")


class NotedShape(msgspec.Struct, frozen=True):
    """A shape of events of one type and schema version, all after a position. None: the shape is unknown."""

    after: int
    shape: Shape | None = None


class Names(msgspec.Struct, frozen=True):
    """The names that a store may hold. Events, streams and sagas with a name lie after the position noted for it."""

    events: dict[str, dict[int, tuple[NotedShape, ...]]] = {}
    """By type and schema version."""
    streams: dict[str, int] = {}
    """The positions, by prefix."""
    sagas: dict[str, int] = {}
    """The positions, by kind, such as `Checkout`, and by step, such as `Checkout.charge`."""
    projections: frozenset[str] = frozenset()
    rows: frozenset[str] = frozenset()


async def keep_names(app: str, modules: Sequence[tuple[Module, Store]], *, working: bool) -> None:
    """Compare the modules with what their stores hold, and note their names there.

    `working`: timers and sagas are going to run. Raises `WiringError`, which names everything that doesn't fit.
    """
    while True:
        comparisons = await asyncio.gather(*(_Comparison.begin(module, store) for module, store in modules))
        found = await asyncio.gather(*(comparison.compare(working=working) for comparison in comparisons))
        problems = [
            f"module {module.name}: {said}" for (module, _), some in zip(modules, found, strict=True) for said in some
        ]
        if problems:
            raise WiringError(f"app {app}: " + "\n".join(problems))
        try:
            for comparison in comparisons:
                await comparison.note()
        except DocumentChanged:
            continue  # another process was faster
        return


class _Comparison:
    """The comparison of one module with its store. The record is brought up to date by it."""

    def __init__(self, module: Module, store: Store, document: Document | None, head: int) -> None:
        self._module = module
        self._store = store
        self._document = document
        self._before = Names() if document is None else decode(Names, document.body)
        self._after = self._before
        self._head = head
        self._kinds: dict[int, Sequence[EventKind]] = {}

    @classmethod
    async def begin(cls, module: Module, store: Store) -> "_Comparison":
        comparison = cls(module, store, await store.document(DOCUMENT), await store.head())
        if comparison._document is None:
            await comparison._note_what_is_stored()
        return comparison

    async def _note_what_is_stored(self) -> None:
        """Fill the record from the store, which may have been written by a version of the toolkit that kept no
        record."""
        events: dict[str, dict[int, tuple[NotedShape, ...]]] = {}
        for kind in await self._kinds_after(0):
            events.setdefault(kind.type, {})[kind.schema_version] = (NotedShape(0),)
        self._after = self._before = Names(events, {kind.prefix: 0 for kind in await self._kinds_after(0)})

    async def compare(self, *, working: bool) -> list[str]:
        problems = [*await self._events(), *await self._streams(), *self._projections()]
        if working:
            problems += [*await self._sagas(), *await self._timers()]
        return problems

    async def note(self) -> None:
        """Write the changes of the record. Raises `DocumentChanged` if another process has written it meanwhile."""
        if self._document is None or self._after != self._before:
            revision = 1 if self._document is None else self._document.revision + 1
            await write_alone(
                self._store, Changeset(documents=[Document(DOCUMENT, revision, encode_text(self._after))])
            )

    # --- events ------------------------------------------------------------------------------------------------------

    async def _events(self) -> list[str]:
        problems: list[str] = []
        types, events = self._module.events, dict(self._before.events)
        for name, versions in self._before.events.items():
            kind = types.kinds.get(name)
            if name in types.retired:
                continue
            newest = 0 if kind is None else kind.schema_version
            unknown = {version: shapes for version, shapes in versions.items() if version > newest}
            stored = [version for version, shapes in unknown.items() if await self._is_stored(name, version, shapes)]
            if stored:
                problems.append(_gone(name, kind, max(stored)))
            searched = {version: self._searched(shapes) for version, shapes in unknown.items() if version not in stored}
            events[name] = {**versions, **searched}
            if kind is not None and newest in versions:
                shapes, misfits = await self._fitting(name, kind, versions[newest])
                events[name][newest] = shapes
                if misfits:
                    problems.append(_misfit(name, kind, misfits))
        for kind in set(types.kinds.values()):
            if kind.__name__ not in _OWN_NAMES:
                versions = events.get(kind.__name__, {})
                shapes = self._with_shape(versions.get(kind.schema_version, ()), shape_of(kind))
                events[kind.__name__] = {**versions, kind.schema_version: shapes}
        self._after = replace(self._after, events=events)
        return problems

    async def _fitting(
        self, name: str, kind: type[Event], shapes: Sequence[NotedShape]
    ) -> tuple[tuple[NotedShape, ...], list[str]]:
        """The shapes that may still be stored, and the reasons why the kind can't read them."""
        reading = shape_of(kind)
        fitting: list[NotedShape] = []
        for noted in shapes:
            misfits = unreadable(noted.shape, reading) if noted.shape is not None else []
            if misfits and await self._is_stored(name, kind.schema_version, [noted]):
                return tuple(shapes), misfits
            if not misfits:
                fitting.append(noted if noted.shape is not None else NotedShape(noted.after, reading))
        return tuple(fitting), []

    def _with_shape(self, shapes: tuple[NotedShape, ...], shape: Shape) -> tuple[NotedShape, ...]:
        known = any(noted.shape == shape for noted in shapes)
        return shapes if known else (*shapes, NotedShape(self._beginning, shape))

    async def _is_stored(self, name: str, version: int, shapes: Iterable[NotedShape]) -> bool:
        kinds = await self._kinds_after(min(noted.after for noted in shapes))
        return any(kind.type == name and kind.schema_version == version for kind in kinds)

    def _searched(self, shapes: Iterable[NotedShape]) -> tuple[NotedShape, ...]:
        return tuple(replace(noted, after=max(noted.after, self._settled)) for noted in shapes)

    # --- streams -----------------------------------------------------------------------------------------------------

    async def _streams(self) -> list[str]:
        own = [aggregate for aggregate in self._module.aggregates if aggregate not in TOOLKIT_AGGREGATES]
        here = {aggregate.stream_prefix for aggregate in own}
        streams = dict.fromkeys(here, self._beginning) | self._before.streams
        stored = []
        for prefix in sorted(self._before.streams.keys() - here - self._module.retired):
            if any(kind.prefix == prefix for kind in await self._kinds_after(streams[prefix])):
                stored.append(prefix)
            else:
                streams[prefix] = max(streams[prefix], self._settled)
        self._after = replace(self._after, streams=streams)
        return [
            f"its log holds streams called {prefix}-…, and none of its aggregates has that prefix. If the aggregate "
            f"was renamed, say stream_prefix = {prefix!r} in its class; if nothing needs these streams any more, say "
            f"Module(retired=[{prefix!r}])."
            for prefix in stored
        ]

    async def _kinds_after(self, position: int) -> Sequence[EventKind]:
        """The kinds of events after a position, without the toolkit's own."""
        if position not in self._kinds:
            self._kinds[position] = [
                kind for kind in await self._store.kinds(position) if kind.type not in _OWN_EVENTS.get(kind.prefix, ())
            ]
        return self._kinds[position]

    @property
    def _beginning(self) -> int:
        """The position after which all data of a newly recorded name lies."""
        return self._settled if self._document is None else self._head

    @property
    def _settled(self) -> int:
        """A position below which no commit can still arrive."""
        return max(0, self._head - LATE_POSITIONS)

    # --- read models -------------------------------------------------------------------------------------------------

    def _projections(self) -> Iterator[str]:
        kinds = [kind for kind in self._module.projections.values() if kind.kind is not SagaIndex]
        projections = {kind.name for kind in kinds}
        rows = {row_type.name for kind in kinds for row_type in kind.rows.values()}
        yield from self._renamed(
            "projection", projections, self._before.projections, "keep its name in the class (name = {gone!r})"
        )
        yield from self._renamed("table of rows", rows, self._before.rows, "keep the name of its class")
        if self._head > 0:
            projections, rows = projections | self._before.projections, rows | self._before.rows
        self._after = replace(self._after, projections=frozenset(projections), rows=frozenset(rows))

    def _renamed(self, what: str, here: set[str], before: frozenset[str], remedy: str) -> Iterator[str]:
        new, gone = sorted(here - before), sorted(before - here - self._module.retired)
        if not gone or self._head == 0:
            return
        if new:
            yield (
                f"the {what} {_listed(new)} is new and {_listed(gone)} is gone. If that is the same one renamed, "
                f"{remedy.format(gone=gone[0])}, or it is built anew and the old tables stay behind. If it isn't, say "
                f"Module(retired=[{_listed(gone)}])."
            )
        else:
            log.warning(
                "a read model is gone, but its tables are still there: name it in Module(retired=[…])",
                module=self._module.name,
                gone=gone,
            )

    # --- sagas and timers that are under way -------------------------------------------------------------------------

    async def _sagas(self) -> list[str]:
        definitions, retired = self._module.sagas, self._module.retired
        here = set(definitions) | {
            f"{name}.{step}" for name, definition in definitions.items() for step in definition.steps
        }
        beginning = 0 if self._document is None else self._head
        sagas = dict.fromkeys(here, beginning) | self._before.sagas
        gone = {name for name in sagas.keys() - here - retired if name.partition(".")[0] not in retired}
        running = await self._running_sagas(min(sagas[name] for name in gone)) if gone else Counter[str]()
        for name in gone:
            if not running[name]:
                sagas[name] = max(sagas[name], self._settled)
        self._after = replace(self._after, sagas=sagas)
        return [
            f"{running[name]} of its sagas haven't ended and need {name}, which the program no longer has. Keep it, "
            f"beside a new one if need be, until they have ended; or have them wait for a program that has it with "
            f"Module(retired=[{name!r}])."
            for name in sorted(gone)
            if running[name] and name.partition(".")[0] not in gone - {name}
        ]

    async def _running_sagas(self, after: int) -> Counter[str]:
        """How many unfinished sagas that began after a position need each name."""
        started: dict[str, SagaStarted] = {}
        while True:
            page = await self._store.read_feed(after, PAGE)
            for event in page.events:
                _follow(started, event)
            if page.position == after:
                break
            after = page.position
        return Counter(
            name for saga in started.values() for name in (saga.saga, *(f"{saga.saga}.{step}" for step in saga.steps))
        )

    async def _timers(self) -> list[str]:
        commands = {name for name, operation in self._module.api.operations.items() if operation.kind == "command"}
        gone = sorted(set(await self._store.timer_operations()) - commands - self._module.retired)
        return [
            f"timers wait to call {name}, and {self._module.api.__name__} has no such command any more. Keep the "
            f"command until they have run; or have them parked with Module(retired=[{name!r}])."
            for name in gone
        ]


def _follow(started: dict[str, SagaStarted], event: StoredEvent) -> None:
    if event.stream.partition("-")[0] == SagaProcess.stream_prefix:
        if event.type == SagaStarted.__name__:
            started[event.stream] = decode(SagaStarted, event.data)
        elif event.type in _ENDINGS:
            started.pop(event.stream, None)


def _gone(name: str, kind: type[Event] | None, version: int) -> str:
    if kind is not None:
        return (
            f"its log holds {name} at schema version {version}, and {kind.__name__} is at {kind.schema_version}. If a "
            f"newer program wrote that, start that one; if not, raise schema_version in the class."
        )
    return (
        f"its log holds events called {name}, which none of its aggregates applies. If the event was renamed, say "
        f"aliases = ({name!r},) in its class; if a newer program wrote them, start that one; if nothing needs them any "
        f"more, say Module(retired=[{name!r}])."
    )


def _misfit(name: str, kind: type[Event], misfits: Sequence[str]) -> str:
    was = "" if name == kind.__name__ else f" (stored as {name})"
    return (
        f"{kind.__name__}{was} can't read what is stored at schema version {kind.schema_version}: "
        f"{'; '.join(misfits)}. Give a new field a default, or raise schema_version to {kind.schema_version + 1} and "
        f"add Upcaster({kind.__name__!r}, {kind.schema_version}, …)."
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
