"""What operators see of a running service: readers, projections, timers and leases, and what they do to them."""

from datetime import timedelta
from typing import Any

import pytest

from craton.application import Paging, WiringError
from craton.ports import Changeset, Timer
from craton.runtime import App
from craton.runtime.committer import write_alone
from craton.runtime.operations.api import Operations, ReaderState
from craton.runtime.operations.refusals import (
    AmbiguousProjection,
    ModuleNotFound,
    NoRollback,
    ProjectionNotFound,
    TimerNotFound,
    UnstorableText,
)
from craton.testing import until
from tests.conftest import Place
from tests.kernel.bank import Bank, bank
from tests.kernel.club import Diary, club_house
from tests.kernel.conftest import Clock, StartApp
from tests.kernel.jars import InlineTotals, JarId, Jars, Labels, Totals, caught_up, coins, jars
from tests.kernel.office import Office
from tests.kernel.operators import act, audited
from tests.kernel.travel import TripId, Weather, unavailable


async def reader(app: App, name: str) -> ReaderState:
    (found,) = [state for state in await app.operations.readers() if state.name == name]
    return found


class TestReaders:
    async def test_are_the_projections_and_the_seals_of_a_module(self, app: App, api: Bank) -> None:
        account = await api.open("Ada", "ada@x")
        await api.deposit(account, 1)

        found = {state.name: state for state in await app.operations.readers()}

        assert {name: (state.module, state.kind, state.source) for name, state in found.items()} == {
            "balances@1": ("bank", "projection", "bank"),
            "owners@1": ("bank", "projection", "bank"),
            "seals": ("bank", "seals", "bank"),
        }
        balances, owners = found["balances@1"], found["owners@1"]
        assert (balances.position, balances.head, balances.lag) == (0, 2, 2)
        assert (owners.position, owners.head, owners.lag) == (2, 2, 0)  # it is inline, and never behind
        assert {state.owner for state in found.values()} == {None}

    async def test_are_the_policies_and_sagas_and_the_steps_that_wait(self, office: Office) -> None:
        found = {(state.kind, state.name, state.source) for state in await office.app.operations.readers()}

        assert found == {
            ("policy", "agency.souvenirs@agency", "agency"),
            ("saga step", "agency.Visa.visa@desk", "desk"),
            ("sagas", "sagas", "agency"),
            ("projection", "sagas@1", "agency"),
        }

    async def test_are_shown_with_the_process_that_runs_them(self, start: StartApp) -> None:
        app, other = await start(jars(Totals), subscriptions=True), await start(jars(Totals))
        await app.api(Jars).put(JarId.new(), 1)
        await caught_up(app)

        state = await reader(other, "totals@1")

        (lease,) = [lease for lease in await app.operations.leases() if lease.name == "totals@1"]
        assert (state.position, state.lag, state.owner) == (1, 0, lease.owner)
        assert (lease.module, lease.held) == ("jars", True)

    async def test_have_no_owner_once_their_process_has_ended(self, place: Place, start: StartApp) -> None:
        async with App("test", modules=[jars(Totals)]).run(place) as app:
            await app.api(Jars).put(JarId.new(), 1)
            await caught_up(app)

        app = await start(jars(Totals))

        assert (await reader(app, "totals@1")).owner is None
        (lease,) = [lease for lease in await app.operations.leases(module="jars") if lease.name == "totals@1"]
        assert not lease.held

    async def test_are_as_far_behind_as_the_log_that_they_read_goes_on(self, place: Place, weather: Weather) -> None:
        async with club_house(place, weather, Diary) as house:
            await house.desk.book(TripId.new(), "flight")
            await house.was_told("club.diary")
            weather.plan("booked hotel", *[unavailable()] * 10_000)
            await house.desk.book(TripId.new(), "hotel")

            state = await reader(house.app, "club.diary@desk")

        assert (state.module, state.kind, state.source) == ("club", "policy", "desk")
        assert (state.position, state.head, state.lag) == (1, 2, 1)

    async def test_count_the_events_that_are_parked_for_them(self, place: Place, weather: Weather) -> None:
        weather.plan("booked flight", *[ValueError("a bug")] * 3)
        async with club_house(place, weather, Diary) as house:
            trip = TripId.new()
            await house.desk.book(trip, "flight")
            await house.desk.book(trip, "hotel")
            await house.parked(2)

            assert (await reader(house.app, "club.diary@desk")).parked == 2

    @pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800"], ids=ascii)
    async def test_like_all_else_are_not_found_by_a_text_that_nothing_can_hold(self, app: App, text: str) -> None:
        calls: list[tuple[Any, dict[str, Any]]] = [
            (Operations.parked, {"reader": text}),
            (Operations.events, {"stream": text}),
            (Operations.stream, {"stream": f"account-{text}"}),
            (Operations.retry_parked, {"module": "bank", "reader": text}),
        ]
        for method, arguments in calls:
            with pytest.raises(UnstorableText, match="which nothing here can hold"):
                await act(app, method, **arguments)

    async def test_of_an_app_that_is_not_running_are_not_known(self) -> None:
        with pytest.raises(WiringError, match="while the app is not running"):
            await App("test", modules=[bank()]).operations.readers()


class TestLeases:
    async def test_are_those_of_one_module_or_of_all(self, start: StartApp) -> None:
        app = await start(bank(), jars(Totals), subscriptions=True)

        async def held(**of: Any) -> set[str]:
            return {lease.module for lease in await app.operations.leases(**of) if lease.held}

        async def by_both() -> bool:
            return await held() == {"bank", "jars"}

        await until(by_both)
        assert await held(module="jars") == {"jars"}
        with pytest.raises(ModuleNotFound):
            await held(module="shop")


class TestProjections:
    async def test_are_shown_with_their_generations(self, start: StartApp) -> None:
        app = await start(jars(Totals, Labels), bank())

        everything = await app.operations.projections()

        assert {(found.module, found.projection, found.live) for found in everything} == {
            ("jars", "totals", 1),
            ("jars", "labels", 1),
            ("bank", "balances", 1),
            ("bank", "owners", 1),
        }
        assert await app.operations.projection("totals") == await app.operations.projection("jars.totals")

    async def test_are_built_anew_and_that_is_recorded(self, start: StartApp) -> None:
        app = await start(jars(Totals), subscriptions=True)
        jar = JarId.new()
        await app.api(Jars).put(jar, 3)

        progress = (await act(app, Operations.rebuild_projection, "jars.totals", reason="a bug is gone")).result
        assert (progress.live, progress.building) == (1, 2)
        await caught_up(app)

        assert (await app.operations.projection("totals")).live == 2
        assert await coins(app) == {jar: 3}
        (entry,) = await audited(app)
        assert (entry.verb, entry.subject, entry.reason) == ("rebuild_projection", "totals", "a bug is gone")

    async def test_that_are_being_built_go_on_when_another_operator_asks_again(self, app: App) -> None:
        await act(app, Operations.rebuild_projection, "balances")

        again = await act(app, Operations.rebuild_projection, "balances", actor="oscar")

        assert again.result.building == 2
        assert [entry.operator for entry in await audited(app)] == ["olga", "oscar"]

    async def test_are_rolled_back_and_that_is_recorded(self, start: StartApp) -> None:
        app = await start(jars(Totals), subscriptions=True)
        jar = JarId.new()
        await app.api(Jars).put(jar, 3)
        await act(app, Operations.rebuild_projection, "totals")
        await caught_up(app)

        progress = (await act(app, Operations.roll_back_projection, "totals", reason="it is wrong")).result
        await caught_up(app)

        assert (progress.live, progress.previous) == (1, 2)
        assert await coins(app) == {jar: 3}
        _, entry = await audited(app)
        assert (entry.verb, entry.subject, entry.reason) == ("roll_back_projection", "totals", "it is wrong")

    async def test_without_a_generation_before_or_in_step_are_not_rolled_back(self, start: StartApp) -> None:
        app = await start(jars(Totals, Labels), bank())

        with pytest.raises(NoRollback, match=r"totals has no generation before the live one\."):
            await act(app, Operations.roll_back_projection, "totals")
        with pytest.raises(NoRollback, match="owners is inline"):
            await act(app, Operations.roll_back_projection, "owners")

        assert await audited(app) == []

    @pytest.mark.parametrize("name", ["", "nothing", "jars", "jars.", ".totals", "bank.totals", "totals@1"])
    async def test_that_there_are_not_are_not_found(self, start: StartApp, name: str) -> None:
        app = await start(jars(Totals), bank())

        for operation in (Operations.projection, Operations.rebuild_projection, Operations.roll_back_projection):
            with pytest.raises(ProjectionNotFound):
                await act(app, operation, name)

    async def test_that_two_modules_call_alike_are_named_with_their_module(self, start: StartApp) -> None:
        class Balances(InlineTotals):
            name = "balances"

        app = await start(jars(Balances), bank())

        with pytest.raises(AmbiguousProjection, match=r"have this name: jars\.balances, bank\.balances\."):
            await app.operations.projection("balances")
        assert (await app.operations.projection("jars.balances")).inline


class TestTimers:
    @pytest.fixture
    async def service(self, start: StartApp, clock: Clock) -> App:
        """The bank with two timers that wait and two that are parked, and jars with one that is parked."""
        service = await start(bank(), jars(), clock=clock)
        for module, name, parked in (
            ("bank", "b1", False),
            ("bank", "b2", True),
            ("jars", "j3", True),
            ("bank", "b4", True),
            ("bank", "b5", False),
        ):
            due = clock.forward(seconds=1)
            timer = Timer(name, due, "deposit", '{"pin":"s3cret"}', "{}", parked=parked, attempts=2, error="a bug")
            await write_alone(service.running[module].store, Changeset(timers=[timer]))
        return service

    async def test_of_all_modules_are_listed_by_when_they_are_due(self, service: App, clock: Clock) -> None:
        page = await service.operations.timers()

        assert [timer.id for timer in page.items] == ["b1", "b2", "j3", "b4", "b5"]
        assert page.total == 5
        timer = page.items[2]
        assert (timer.module, timer.operation, timer.attempts, timer.error, timer.parked) == (
            *("jars", "deposit", 2, "a bug"),
            True,
        )
        assert timer.due == clock.time - timedelta(seconds=2)
        assert "s3cret" not in repr(page)

    async def test_are_those_of_a_module_or_that_wait_or_that_are_parked(self, service: App) -> None:
        async def ids(**wanted: Any) -> list[str]:
            return [timer.id for timer in (await service.operations.timers(**wanted)).items]

        assert await ids(module="jars") == ["j3"]
        assert await ids(parked=True) == ["b2", "j3", "b4"]
        assert await ids(parked=False) == ["b1", "b5"]
        assert await ids(module="bank", parked=True) == ["b2", "b4"]
        with pytest.raises(ModuleNotFound):
            await ids(module="shop")

    async def test_are_listed_in_pages(self, service: App) -> None:
        pages = [await service.operations.timers(paging=Paging(number, 2)) for number in (1, 2, 3, 4)]

        assert [[timer.id for timer in page.items] for page in pages] == [["b1", "b2"], ["j3", "b4"], ["b5"], []]
        assert {page.total for page in pages} == {5}

    async def test_that_are_retried_are_due_now_as_if_for_the_first_time(self, service: App, clock: Clock) -> None:
        await act(service, Operations.retry_timer, "bank", "b2", reason="the bug is gone")

        (again,) = [timer for timer in (await service.operations.timers()).items if timer.error == ""]
        assert (again.parked, again.attempts, again.operation) == (False, 0, "deposit")
        assert again.due <= clock.time
        (entry,) = await audited(service)
        assert (entry.verb, entry.subject, entry.reason) == ("retry_timer", "deposit b2", "the bug is gone")

    async def test_that_are_dropped_are_gone(self, service: App) -> None:
        await act(service, Operations.drop_timer, "jars", "j3", reason="too late")

        assert (await service.operations.timers(module="jars")).total == 0
        (entry,) = await audited(service)
        assert (entry.module, entry.verb, entry.subject) == ("jars", "drop_timer", "deposit j3")

    @pytest.mark.parametrize("operation", [Operations.retry_timer, Operations.drop_timer])
    @pytest.mark.parametrize("timer", ["b1", "j3", "", "nothing", "\0"])
    async def test_that_are_not_parked_there_are_not_found(self, service: App, operation: Any, timer: str) -> None:
        with pytest.raises(TimerNotFound):
            await act(service, operation, "bank", timer)

        assert await audited(service) == []
