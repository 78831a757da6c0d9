"""What operators do is recorded with what it does, once: who did it, when, why; and a verb has one answer a key."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from craton.application import Context, Paging, Unavailable
from craton.application.api import operation_of
from craton.application.errors import DeadlineExceeded, KeyReused
from craton.application.operators import OPERATOR_STREAM
from craton.domain import world
from craton.ports import Changeset, Store, StoreUnavailable, Timer, WriteOutcome
from craton.runtime import App
from craton.runtime.committer import write_alone
from craton.runtime.operations.api import AuditEntry, Operations
from craton.runtime.operations.refusals import ModuleNotFound, NoRollback, ParkedNotFound
from craton.testing.faults import Line
from tests.conftest import Place, PostgresPlace
from tests.kernel.conftest import Clock, StartApp
from tests.kernel.jars import Totals, caught_up, jars
from tests.kernel.operators import NOON, act, audited, park

Verb = tuple[Any, dict[str, Any]]
VERBS: dict[str, Verb] = {
    "retry_parked": (Operations.retry_parked, {"module": "jars", "reader": "totals@2"}),
    "drop_parked": (Operations.drop_parked, {"module": "jars", "reader": "totals@2", "position": 7}),
    "retry_timer": (Operations.retry_timer, {"module": "jars", "timer": "t1"}),
    "drop_timer": (Operations.drop_timer, {"module": "jars", "timer": "t1"}),
    "rebuild_projection": (Operations.rebuild_projection, {"name": "totals"}),
    "roll_back_projection": (Operations.roll_back_projection, {"name": "totals"}),
}
"""Each can be carried out in `service`."""
SUBJECTS = {
    "retry_parked": "totals@2 at 7",
    "drop_parked": "totals@2 at 7",
    "retry_timer": "put t1",
    "drop_timer": "put t1",
    "rebuild_projection": "totals",
    "roll_back_projection": "totals",
}

each_verb = pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)


@pytest.fixture
async def service(place: Place, start: StartApp, clock: Clock) -> App:
    """Jars whose totals can be rolled back, with an event and a timer that are parked; nothing goes on."""
    async with App("test", modules=[jars(Totals)]).run(place) as before:
        await before.running["jars"].projections["totals"].rebuild()
        await caught_up(before)
    service = await start(jars(Totals), clock=clock)
    store = service.running["jars"].store
    await park(store, "totals@2", 7, "a")
    await write_alone(store, Changeset(timers=[Timer("t1", NOON, "put", "{}", "{}", parked=True)]))
    return service


def store_of(app: App) -> Store:
    return app.running["jars"].store


async def state(app: App) -> Any:
    """All that verbs could have changed."""
    parked = (await app.operations.parked()).items
    return parked, await app.operations.projection("totals"), (await app.operations.timers()).items


class TestAnEntry:
    @each_verb
    async def test_says_what_was_done_when_why_and_by_which_operator(
        self, service: App, verb: Verb, clock: Clock
    ) -> None:
        method, arguments = verb
        clock.forward(hours=1)

        await act(service, method, **arguments, reason="the bug is gone")

        name = operation_of(method).name
        assert await audited(service) == [
            AuditEntry(
                module="jars",
                time=clock.time,
                operator="olga",
                verb=name,
                subject=SUBJECTS[name],
                reason="the bug is gone",
                correlation="call-1",
                position=1,
            )
        ]

    @each_verb
    async def test_is_written_in_the_commit_of_what_was_done(
        self, service: App, verb: Verb, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written: list[Changeset] = []
        store, write = store_of(service), store_of(service).write

        async def watched(units: Sequence[Changeset]) -> Sequence[WriteOutcome]:
            written.extend(units)
            return await write(units)

        monkeypatch.setattr(store, "write", watched)
        method, arguments = verb

        await act(service, method, **arguments, under="k-1")

        (unit,) = [unit for unit in written if unit.appends]
        assert [append.stream for append in unit.appends] == [OPERATOR_STREAM]
        assert unit.operator_requests or unit.timers_done or unit.documents
        assert unit.result is not None

    @each_verb
    async def test_is_not_there_when_the_commit_fails_and_nothing_is_done(
        self, service: App, verb: Verb, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = await state(service)

        async def fail(_: Sequence[Changeset]) -> Sequence[WriteOutcome]:
            raise StoreUnavailable("The store can't be reached.", maybe_executed=True)

        method, arguments = verb
        with monkeypatch.context() as patch:
            patch.setattr(store_of(service), "write", fail)
            with pytest.raises(Unavailable, match="can't be reached") as problem:
                await act(service, method, **arguments)

        assert problem.value.maybe_executed
        assert await audited(service) == []
        assert await state(service) == before

    async def test_is_not_there_when_what_was_parked_is_not_parked_any_more(
        self, service: App, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, parked = store_of(service), store_of(service).parked
        before = await parked()

        async def overtaken(reader: str | None = None) -> Any:
            monkeypatch.setattr(store, "parked", parked)
            await write_alone(store, Changeset(unparked=[("totals@2", 7)]))
            return before

        monkeypatch.setattr(store, "parked", overtaken)

        with pytest.raises(ParkedNotFound):
            await act(service, Operations.drop_parked, "jars")

        assert await audited(service) == []

    async def test_needs_no_reason_and_no_operator_that_is_known(self, service: App) -> None:
        await service.operations.rebuild_projection("totals")

        (entry,) = await audited(service)
        assert (entry.operator, entry.reason) == (None, "")

    async def test_of_a_module_that_there_is_not_is_refused(self, service: App) -> None:
        with pytest.raises(ModuleNotFound):
            await service.operations.audit(module="shop")

    async def test_is_listed_with_others_newest_first_in_pages(self, start: StartApp, clock: Clock) -> None:
        app = await start(jars(Totals), clock=clock)
        for number in range(5):
            clock.forward(seconds=1)
            await act(app, Operations.rebuild_projection, "totals", reason=str(number))

        pages = [await app.operations.audit(paging=Paging(number, 2)) for number in (1, 2, 3, 4)]

        assert [[entry.reason for entry in page.items] for page in pages] == [["4", "3"], ["2", "1"], ["0"], []]
        assert {page.total for page in pages} == {5}


class TestTwoOperatorsAtOnce:
    @pytest.fixture
    async def other(self, service: App, start: StartApp, clock: Clock) -> App:
        """The same in another process."""
        return await start(jars(Totals), clock=clock)

    async def test_that_ask_for_the_same_are_both_noted(self, service: App, other: App) -> None:
        await asyncio.gather(
            *(
                act(app, Operations.retry_parked, "jars", "totals@2", actor=f"{name} {number}")
                for number in range(5)
                for name, app in (("olga", service), ("oscar", other))
            )
        )

        entries = await audited(service)
        assert sorted(entry.operator or "" for entry in entries) == sorted(
            f"{name} {number}" for number in range(5) for name in ("olga", "oscar")
        )
        assert entries == await audited(other)

    async def test_that_build_the_same_anew_are_both_noted_and_it_is_built_once(self, service: App, other: App) -> None:
        built = await asyncio.gather(
            act(service, Operations.rebuild_projection, "totals", actor="olga"),
            act(other, Operations.rebuild_projection, "totals", actor="oscar"),
        )

        assert {answer.result.building for answer in built} == {3}
        assert {entry.operator for entry in await audited(service)} == {"olga", "oscar"}

    @pytest.mark.parametrize("processes", [1, 2])
    async def test_that_roll_the_same_back_do_so_once(
        self, service: App, other: App, processes: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        apps = [service, other] if processes == 2 else [service, service]
        barrier = asyncio.Barrier(2)

        def meet_before_the_first(read: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
            async def reading(*arguments: Any, **named: Any) -> Any:
                if len(met) < 2:
                    met.append(arguments)
                    await barrier.wait()
                return await read(*arguments, **named)

            return reading

        met: list[Any] = []
        for app in apps[:processes]:
            monkeypatch.setattr(store_of(app), "read_stream", meet_before_the_first(store_of(app).read_stream))

        outcomes = await asyncio.gather(
            *(act(app, Operations.roll_back_projection, "totals") for app in apps), return_exceptions=True
        )

        assert sorted(isinstance(outcome, NoRollback) for outcome in outcomes) == [False, True], outcomes
        assert (await service.operations.projection("totals")).live == 1
        assert len(await audited(service)) == 1

    async def test_with_clocks_that_differ_leave_entries_whose_times_go_on(
        self, service: App, start: StartApp, clock: Clock
    ) -> None:
        slow = Clock()
        slow.forward(hours=-1)
        behind = await start(jars(Totals), clock=slow)

        await act(service, Operations.rebuild_projection, "totals")
        await act(behind, Operations.rebuild_projection, "totals")

        assert [entry.time for entry in await audited(service)] == [clock.time, clock.time]


class TestAKey:
    @each_verb
    async def test_that_is_used_again_is_given_the_first_answer(self, service: App, verb: Verb) -> None:
        method, arguments = verb
        first = await act(service, method, **arguments, under="k-1")
        after = await state(service)

        again = await act(service, method, **arguments, under="k-1")

        assert (first.replayed, again.replayed) == (False, True)
        assert (again.result, again.module, again.position) == (first.result, first.module, first.position)
        assert len(await audited(service)) == 1
        assert await state(service) == after

    @each_verb
    async def test_that_is_used_again_at_once_has_one_effect(self, service: App, verb: Verb) -> None:
        method, arguments = verb

        answers = await asyncio.gather(*(act(service, method, **arguments, under="k-1") for _ in range(5)))

        assert [answer.replayed for answer in answers].count(False) == 1
        assert len({repr(answer.result) for answer in answers}) == 1
        assert len(await audited(service)) == 1

    @each_verb
    async def test_that_is_used_for_another_request_is_refused(self, service: App, verb: Verb) -> None:
        method, arguments = verb
        await act(service, method, **arguments, under="k-1", reason="one")

        with pytest.raises(KeyReused):
            await act(service, method, **arguments, under="k-1", reason="another")

        assert len(await audited(service)) == 1

    async def test_belongs_to_one_operator(self, service: App) -> None:
        await act(service, Operations.rebuild_projection, "totals", under="k-1")

        other = await act(service, Operations.rebuild_projection, "totals", under="k-1", actor="oscar")

        assert not other.replayed
        assert [entry.operator for entry in await audited(service)] == ["olga", "oscar"]

    async def test_is_not_used_up_by_what_is_refused(self, service: App) -> None:
        with pytest.raises(ParkedNotFound):
            await act(service, Operations.retry_parked, "jars", "totals@2", position=8, under="k-1")
        await park(store_of(service), "totals@2", 8, "b")

        answer = await act(service, Operations.retry_parked, "jars", "totals@2", position=8, under="k-1")

        assert not answer.replayed


class TestAStoreThatDoesNotAnswer:
    @pytest.fixture
    def calls(self) -> list[Verb]:
        """Every kind of question, and every verb."""
        questions: list[Verb] = [
            (method, {})
            for method in (
                *(Operations.readers, Operations.projections, Operations.parked, Operations.timers),
                *(Operations.leases, Operations.events, Operations.audit),
            )
        ]
        return [*questions, (Operations.stream, {"stream": OPERATOR_STREAM}), *VERBS.values()]

    async def test_is_waited_for_until_the_deadline(self, postgres_place: PostgresPlace, calls: list[Verb]) -> None:
        with Line(postgres_place.url) as line:
            distant = PostgresPlace(line.url)
            distant.prefix = postgres_place.prefix
            async with App("test", modules=[jars(Totals)]).run(distant, subscriptions=False) as app:
                line.black_hole()

                for method, arguments in calls:
                    operation = operation_of(method)
                    context = Context(deadline=world.monotonic() + 0.2)
                    with pytest.raises(DeadlineExceeded) as problem:
                        await app.operate(operation, operation.bind((), arguments), context)
                    assert problem.value.maybe_executed is (operation.kind == "command"), operation

    async def test_is_said_to_be_unavailable(
        self, service: App, calls: list[Verb], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = store_of(service)

        async def fail(*_: Any, **__: Any) -> None:
            raise StoreUnavailable("The store can't be reached.", maybe_executed=False)

        for read in (
            "document",
            "events",
            "head",
            "leases",
            "parked",
            "parked_timers",
            "read_stream",
            "search",
            "timers",
        ):
            if hasattr(store, read):
                monkeypatch.setattr(store, read, fail)

        for method, arguments in calls:
            with pytest.raises(Unavailable, match="can't be reached") as problem:
                await act(service, method, **arguments)
            assert not problem.value.maybe_executed

    async def test_is_not_asked_when_the_deadline_is_over(self, service: App, calls: list[Verb]) -> None:
        for method, arguments in calls:
            operation = operation_of(method)
            with pytest.raises(DeadlineExceeded) as problem:
                await service.operate(operation, operation.bind((), arguments), Context(deadline=world.monotonic()))
            assert not problem.value.maybe_executed

        assert await audited(service) == []
