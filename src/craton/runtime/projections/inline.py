"""Inline projections: rows that are written in the commit of the events themselves.

While a new version is deployed, two programs may write to one store, and each keeps only the projections that it
knows. So each unit names the set of live inline projections that it was made for (`LiveInline`), and this program
refuses events that another program's projection needs rows of.
"""

from collections.abc import Iterable, Mapping, Sequence

import structlog

from craton.application.projection import ProjectionDefinition
from craton.application.upcasting import EventTypes
from craton.domain import Event
from craton.domain.aggregate import AnyAggregate
from craton.ports import Changeset, RowOperation, StoredEvent
from craton.runtime.projections.generations import Generation, LiveInline
from craton.runtime.projections.live_view import NotInStep
from craton.runtime.projections.projection import RunningProjection

log = structlog.get_logger("craton.projection")


class InlineProjections:
    """The inline projections of one module; `projections` are all projections of the module."""

    def __init__(self, live: LiveInline, events: EventTypes, projections: Mapping[str, RunningProjection]) -> None:
        self._live = live
        self._events = events
        self._projections = projections
        self._inline = {name: projection for name, projection in projections.items() if projection.definition.inline}
        self._known: dict[str, Generation] | None = None
        self._ours: dict[str, Generation] = {}
        self._foreign: dict[str, str] = {}
        """By event, the projection that only another program keeps."""

    def add(self, unit: Changeset, states: Mapping[str, AnyAggregate]) -> None:
        """Add the rows of the projections to a unit of events. `states` are the states after these events, by stream.

        Raises `NotInStep` if this program can't keep one of the projections now.
        """
        if not unit.appends:
            return
        if self._known is not self._live.generations:
            self._look(self._live.generations)
        unit.inline = self._live.revision
        if self._inline:
            facts = {
                event.id: fact
                for append in unit.appends
                for event, fact in zip(append.events, states[append.stream].recorded, strict=True)
                if self._events.may_be_shared(event.type)
            }
            for name, projection in self._inline.items():
                self._project(projection, unit, self._ours.get(name), states, facts)
        if self._foreign:
            self._require_known(event.type for append in unit.appends for event in append.events)

    def _project(
        self,
        running: RunningProjection,
        unit: Changeset,
        live: Generation | None,
        states: Mapping[str, AnyAggregate],
        facts: Mapping[str, Event],
    ) -> None:
        """Add the rows of a projection to a unit of events, on the condition that this generation is still live.

        `states` are the states of the aggregates after these events, by stream; `facts` are the events that never
        change, by id, so that they needn't be decoded. A unit without events of the projection stays unchanged. Raises
        `NotInStep` if no generation of this program is live, because its rows would miss the events.
        """
        definition = running.definition
        if not any(
            definition.concerns(event.type, append.stream) for append in unit.appends for event in append.events
        ):
            return
        if live is None:
            raise running.view.not_live(len(running.held_up))
        generation, before = live.number, unit.project
        projection = definition.new()

        def project(stored: Sequence[StoredEvent]) -> Sequence[RowOperation]:
            operations = list(before(stored)) if before else []
            for event in _to_project(definition, stored):
                recorded = self._events.recorded(event, facts.get(event.id))
                changes = definition.changes(projection, recorded, states.get(event.stream))
                operations += [change.in_transaction(generation) for change in changes]
            return operations

        unit.project = project

    def _require_known(self, events: Iterable[str]) -> None:
        for event in events:
            if event in self._foreign:
                raise NotInStep(
                    f"{event} can't be recorded by this process, because another version of the program keeps the view "
                    f"{self._foreign[event]}."
                )

    def _look(self, generations: dict[str, Generation]) -> None:
        """Separate the generations that this program keeps from those of other programs."""
        self._known, self._ours, self._foreign = generations, {}, {}
        for name, generation in generations.items():
            projection = self._projections.get(name)
            if projection is not None and projection.record.is_current(generation):
                self._ours[name] = generation
            else:
                self._foreign |= dict.fromkeys(generation.events, name)
                log.warning(
                    "another version of the program keeps an inline projection, so its events can't be recorded here. "
                    "Restart an older process with the new version. A newer process continues when it has built its "
                    "own generation, which it begins at its start: restart it if it builds none. Name a projection "
                    "that was removed in Module(retired=[…])",
                    projection=name,
                    events=generation.events,
                )

    async def refresh(self) -> bool:
        """Read again which generations are live. Returns whether anything changed."""
        return await self._live.refresh()


def _to_project(definition: ProjectionDefinition, stored: Sequence[StoredEvent]) -> list[StoredEvent]:
    """The events that change rows. For an aggregate's projection only the last one counts: it has one row per state."""
    concerned = [event for event in stored if definition.concerns(event.type, event.stream)]
    return concerned if definition.aggregate is None else list({event.stream: event for event in concerned}.values())
