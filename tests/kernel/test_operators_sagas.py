"""What operators do to sagas is recorded in the log of operators, too, in the same commit."""

import asyncio
from typing import Any

import pytest

from craton.application.errors import KeyReused
from craton.application.operators import OPERATOR_STREAM
from craton.application.sagas.events import SagaId
from craton.application.sagas.refusals import BlankReason, SagaNotFound
from craton.application.sagas.state import Status
from craton.domain import DomainError, Text
from craton.ports import EventFilter
from craton.runtime.operations.api import Operations
from tests.kernel.office import Office
from tests.kernel.operators import act, audited
from tests.kernel.travel import TripId

Verb = tuple[Any, dict[str, Any]]
VERBS: dict[str, Verb] = {
    "retry": (Operations.retry_saga, {"reason": Text("it is open again")}),
    "skip": (Operations.skip_saga_step, {"step": "base", "reason": Text("it is open again")}),
    "resolve": (Operations.resolve_saga, {"note": Text("it is open again")}),
}
"""Each can be carried out where a saga's base can't be undone."""

each_verb = pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
SUBJECTS = {"retry_saga": "", "skip_saga_step": " step base", "resolve_saga": ""}


def because(arguments: dict[str, Any], reason: str) -> dict[str, Any]:
    """The same for another reason."""
    return {name: Text(reason) if name in ("reason", "note") else value for name, value in arguments.items()}


@pytest.fixture
async def stuck(not_undone: tuple[Office, TripId]) -> tuple[Office, TripId]:
    """A saga of which only the base still has to be undone."""
    office, trip = not_undone
    await act(office.app, Operations.skip_saga_step, saga=SagaId(trip), step="left", reason=Text("it is torn down"))
    await office.at_rest(trip, Status.STUCK)
    return office, trip


class TestAnOrder:
    @pytest.mark.parametrize(
        ("name", "recorded"), [("retry", "SagaRetried"), ("skip", "StepSkipped"), ("resolve", "SagaResolved")]
    )
    async def test_is_recorded_with_its_operator_and_reason_in_the_same_commit(
        self, stuck: tuple[Office, TripId], name: str, recorded: str
    ) -> None:
        office, trip = stuck
        method, arguments = VERBS[name]

        await act(office.app, method, saga=SagaId(trip), **arguments, actor="oscar")

        _, entry = await audited(office.app)
        assert (entry.module, entry.operator, entry.reason) == ("tours", "oscar", "it is open again")
        assert entry.subject == f"Expedition {trip}{SUBJECTS[entry.verb]}"
        assert entry.correlation == "call-1"
        store = office.app.running["tours"].store
        (noted,) = await store.read_stream(OPERATOR_STREAM, after=1, limit=10)
        ordered = await store.read_stream(f"saga-{trip}", limit=1_000)
        order = [event for event in ordered if event.type == recorded][-1]
        first, last = sorted((order.position, noted.position))
        between, _ = await store.search(EventFilter(), last, 100, 100)
        assert not any(event.last for event in between if event.position >= first)  # all are of one unit

    async def test_to_compensate_is_recorded(self, office: Office) -> None:
        trip = TripId(await office.agency.await_visa("Ada"))

        await act(office.app, Operations.compensate_saga, saga=SagaId(trip), reason=Text("she stays"))

        (entry,) = await audited(office.app)
        assert (entry.verb, entry.subject, entry.reason) == ("compensate_saga", f"Visa {trip}", "she stays")
        await office.at_rest(trip, Status.COMPENSATED)

    @each_verb
    async def test_that_is_repeated_under_its_key_is_recorded_once(
        self, stuck: tuple[Office, TripId], verb: Verb
    ) -> None:
        office, trip = stuck
        method, arguments = verb

        answers = [await act(office.app, method, saga=SagaId(trip), **arguments, under="k-1") for _ in range(2)]

        assert [answer.replayed for answer in answers] == [False, True]
        assert answers[0].position == answers[1].position
        assert len(await audited(office.app)) == 2
        with pytest.raises(KeyReused):
            await act(office.app, method, saga=SagaId(trip), **because(arguments, "other"), under="k-1")

    @each_verb
    async def test_that_is_refused_is_not_recorded(self, stuck: tuple[Office, TripId], verb: Verb) -> None:
        office, trip = stuck
        method, arguments = verb

        with pytest.raises(BlankReason):
            await act(office.app, method, saga=SagaId(trip), **because(arguments, " "))
        with pytest.raises(SagaNotFound):
            await act(office.app, method, saga=SagaId(TripId.new()), **arguments)

        assert len(await audited(office.app)) == 1

    async def test_is_recorded_after_what_another_verb_has_recorded(self, stuck: tuple[Office, TripId]) -> None:
        office, trip = stuck
        await act(office.app, Operations.rebuild_projection, "sagas")

        await act(office.app, Operations.resolve_saga, saga=SagaId(trip), note=Text("it was paid"))
        await act(office.app, Operations.rebuild_projection, "sagas")

        assert [entry.verb for entry in await audited(office.app)] == [
            *("skip_saga_step", "rebuild_projection"),
            *("resolve_saga", "rebuild_projection"),
        ]

    async def test_of_two_operators_at_once_is_recorded_unless_it_is_refused(
        self, stuck: tuple[Office, TripId]
    ) -> None:
        office, trip = stuck

        outcomes = await asyncio.gather(
            *(
                act(office.app, Operations.resolve_saga, saga=SagaId(trip), note=Text("paid"), actor=name)
                for name in ("olga", "oscar")
            ),
            *(act(office.app, Operations.rebuild_projection, "sagas", actor=name) for name in ("ann", "bob")),
            return_exceptions=True,
        )

        refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert [isinstance(refusal, DomainError) for refusal in refused] == [True]
        verbs = sorted(entry.verb for entry in await audited(office.app))
        assert verbs == ["rebuild_projection", "rebuild_projection", "resolve_saga", "skip_saga_step"]
