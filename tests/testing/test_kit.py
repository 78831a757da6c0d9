"""The test kit: an app in a test, and its callers."""

from pathlib import Path

import pytest

from craton.application import KeyReused, WiringError
from craton.application.context import Context, entered
from craton.domain import AccessDenied
from craton.testing import run
from tests.testing.workshop import (
    AlreadyRepaired,
    BlankOwner,
    Courier,
    Messages,
    Notes,
    RepairId,
    Workshop,
    app,
    courier,
    workshop,
)


class TestAnApp:
    async def test_runs_in_one_line(self) -> None:
        async with run(workshop) as running:
            repair = await running.api(Workshop).bring("Ann")

            assert (await running.api(Workshop).repair(repair)).owner == "Ann"

    async def test_may_be_modules_that_are_put_together(self) -> None:
        async with run(workshop, courier) as running:
            assert list(running.app.running) == ["workshop", "courier"]

    async def test_is_given_no_further_modules(self) -> None:
        with pytest.raises(WiringError, match="app workshops has its modules already; run takes an app, or modules"):
            async with run(app, courier):
                pass

    async def test_is_left_as_it_is_and_its_data_are_gone_at_the_end(self) -> None:
        for _ in range(2):
            async with run(app) as running:
                assert await running.api(Workshop).count() == 0
                await running.api(Workshop).bring("Ann")

        assert app.running == {}

    async def test_keeps_its_data_where_it_is_told_to(self, tmp_path: Path) -> None:
        for before in range(2):
            async with run(app, store="sqlite", folder=tmp_path) as running:
                assert await running.api(Workshop).count() == before
                await running.api(Workshop).bring("Ann")

    async def test_has_other_adapters_for_the_ports_that_are_replaced(self) -> None:
        notes = Notes()
        async with run(app, replace={Messages: notes}) as running:
            repair = await running.api(Workshop).bring("Ann")
            await running.api(Workshop).finish(repair)
            await running.settled()

        assert notes.texts == [f"{repair} is repaired"]
        assert workshop.provides[Messages] is not notes

    async def test_is_not_run_with_an_adapter_for_a_port_that_no_module_has(self) -> None:
        with pytest.raises(WiringError, match="app workshops: no module has an adapter for Path"):
            async with run(app, replace={Path: Notes()}):
                pass

    async def test_has_the_settings_of_the_test_and_none_of_the_environment(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CRATON_WORKSHOP_REMINDER_MINUTES", "1")
        for settings, due in ((None, 60), ({"CRATON_WORKSHOP_REMINDER_MINUTES": "5"}, 5)):
            async with run(app, settings=settings) as running:
                repair = await running.api(Workshop).bring("Ann")

                await running.turn(minutes=due, seconds=-1)
                before = (await running.api(Workshop).repair(repair)).reminders
                await running.turn(seconds=1)
                after = (await running.api(Workshop).repair(repair)).reminders

            assert (before, after) == (0, 1)

    async def test_tells_what_its_start_has_said(self) -> None:
        async with run(app, settings={"CRATON_WORKSHOP_REMINDERS": "5"}) as running:
            assert running.said == ["CRATON_WORKSHOP_REMINDERS is set, but there is no such setting."]

    async def test_is_not_started_with_a_setting_that_can_not_be_used(self) -> None:
        with pytest.raises(WiringError, match="CRATON_WORKSHOP_REMINDER_MINUTES can't be used"):
            async with run(app, settings={"CRATON_WORKSHOP_REMINDER_MINUTES": "soon"}):
                pass

    async def test_does_nothing_in_the_background_without_subscriptions(self) -> None:
        notes = Notes()
        async with run(app, replace={Messages: notes}, subscriptions=False) as running:
            repair = await running.api(Workshop).bring("Ann")
            await running.api(Workshop).finish(repair)

            with pytest.raises(TimeoutError, match=r"workshop\.announce@workshop of workshop is 2 positions behind"):
                await running.settled(1.0)
            assert notes.texts == []

    async def test_shows_operators_what_it_does(self) -> None:
        async with run(app) as running:
            readers = await running.operations.readers()

        assert {reader.name for reader in readers} >= {"repairs@1", "workshop.announce@workshop", "sagas"}


class TestACall:
    async def test_is_encoded_and_decoded_on_its_way(self) -> None:
        class Owner(str):
            pass

        async with run(workshop) as running:
            with pytest.raises(TypeError, match="Owner can't be encoded"):
                await running.api(Workshop).bring(Owner("Ann"))
            with pytest.raises(BlankOwner):
                await running.api(Workshop).bring("")
            repair = await running.api(Workshop).bring("Ann")
            await running.api(Workshop).finish(repair)

            with pytest.raises(AlreadyRepaired) as refused:
                await running.api(Workshop).finish(repair)

        assert type(repair) is RepairId
        assert (refused.value.owner, refused.value.reminders) == ("Ann", 0)

    async def test_can_not_be_made_to_a_module_that_is_not_there(self) -> None:
        async with run(workshop) as running:
            with pytest.raises(WiringError, match="no module provides Courier"):
                running.api(Courier)

    async def test_of_a_query_sees_all_that_was_committed_before(self) -> None:
        async with run(app) as running:
            for count in range(1, 30):
                await running.api(Workshop).bring("Ann")

                assert await running.api(Workshop).count() == count


class TestACaller:
    async def test_with_an_id_comes_from_outside_and_has_roles(self) -> None:
        async with run(app) as running:
            ann, chief = running.as_("ann"), running.as_("chief", "master", "cook")

            assert await ann.api(Workshop).caller() == "ann, ann: "
            assert await chief.api(Workshop).caller() == "chief, chief: cook, master"

    async def test_without_an_id_is_the_application_itself(self) -> None:
        async with run(app) as running:
            assert await running.api(Workshop).caller() == "None, within"

    async def test_may_do_what_its_id_and_its_roles_allow(self) -> None:
        async with run(app) as running:
            repair = await running.api(Workshop).bring("ann")

            for allowed in (running, running.as_("ann"), running.as_("chief", "master")):
                assert (await allowed.api(Workshop).repair(repair)).id == repair
            with pytest.raises(AccessDenied):
                await running.as_("bob", "cook").api(Workshop).repair(repair)

    async def test_stays_who_it_is_when_it_calls_from_within_another_call(self) -> None:
        async with run(app) as running:
            with entered(Context(actor="bob")):
                assert await running.as_("ann").api(Workshop).caller() == "ann, ann: "


class TestAKey:
    async def test_makes_a_repeated_command_have_one_effect(self) -> None:
        async with run(app) as running:
            once = running.once("cart-7").api(Workshop)

            assert await once.bring("Ann") == await once.bring("Ann")
            assert await once.count() == 1

    async def test_is_good_for_one_request(self) -> None:
        async with run(app) as running:
            await running.once("cart-7").api(Workshop).bring("Ann")

            with pytest.raises(KeyReused):
                await running.once("cart-7").api(Workshop).bring("Bob")

    async def test_belongs_to_its_caller(self) -> None:
        async with run(app) as running:
            for name in ("ann", "bob"):
                for _ in range(2):
                    await running.as_(name).once("cart-7").api(Workshop).bring("Ann")

            assert await running.api(Workshop).count() == 2
