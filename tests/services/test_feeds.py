"""The log of a module is read by other services: every event once and in order, whatever happens in between."""

import asyncio
import shutil
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from craton.application.errors import Unavailable
from craton.domain import world
from craton.ports import LogUnavailable
from craton.runtime import App
from craton.testing.faults import Line
from craton.testing.until import until
from tests.services.fair import FAIR, Fair, Kiosk, PurseId, Till, call

ADA = PurseId("ada")


async def noted(street: App, amount: int) -> None:
    """Wait until the kiosk's policy and its read model have come to a sum."""

    async def are_there() -> bool:
        try:
            by_policy, by_view = await call(street, Kiosk.noted, ADA), await call(street, Kiosk.shown, ADA)
        except Unavailable:  # the read model is still being built
            return False
        assert by_policy.result <= amount
        assert by_view.result <= amount
        return bool(by_policy.result == by_view.result == amount)

    await until(are_there)


async def pay(fair: Fair, times: int) -> None:
    await asyncio.gather(*(call(fair.till, Till.pay, ADA, 1) for _ in range(times)))


async def test_policies_and_read_models_hear_of_the_events_of_another_service(fair: Fair) -> None:
    await fair.open_till()
    await call(fair.till, Till.fill, ADA, 1_000)
    async with fair.kiosk() as street:
        await pay(fair, 20)

        await noted(street, 20)


async def test_a_new_reader_begins_with_the_first_event(fair: Fair) -> None:
    await fair.open_till()
    await call(fair.till, Till.fill, ADA, 10_000)
    await pay(fair, 1_200)

    async with fair.kiosk() as street:
        await noted(street, 1_200)


async def test_a_reader_goes_on_where_it_has_stopped(fair: Fair) -> None:
    await fair.open_till()
    await call(fair.till, Till.fill, ADA, 1_000)
    async with fair.kiosk() as street:
        await pay(fair, 5)
        await noted(street, 5)
    await pay(fair, 5)

    async with fair.kiosk() as street:
        await noted(street, 10)


async def test_a_service_that_is_away_costs_lag_and_nothing_else(fair: Fair) -> None:
    async with fair.kiosk() as street:
        await fair.open_till()
        await call(fair.till, Till.fill, ADA, 1_000)
        await pay(fair, 5)

        await noted(street, 5)


@pytest.mark.parametrize("fault", ["reset", "black_hole", "half_open up", "half_open down", "cut_after", "delay"])
async def test_a_cut_line_costs_lag_and_nothing_else(fair: Fair, fault: str) -> None:
    await fair.open_till()
    await call(fair.till, Till.fill, ADA, 1_000)
    with Line(fair.folder / "till", at=fair.folder / "line") as line:
        async with fair.kiosk("line") as street:
            await pay(fair, 5)
            await noted(street, 5)
            match fault.split():
                case ["half_open", "up"]:
                    line.half_open("up")
                case ["half_open", "down"]:
                    line.half_open("down")
                case ["cut_after"]:
                    line.cut_after(50)
                case ["delay"]:
                    line.delay(0.05)
                case [name]:
                    getattr(line, name)()
            await pay(fair, 5)
            line.heal()

            await noted(street, 10)


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_clock_that_is_an_hour_off_changes_nothing(fair: Fair, hours: int) -> None:
    await fair.open_till(app=FAIR.altered(clock=lambda: world.now() + timedelta(hours=hours)))
    street = fair.caller()
    await call(street, Till.fill, ADA, 1_000)
    async with fair.kiosk() as kiosk:
        for number in range(5):
            await call(street, Till.pay, ADA, 1, key=f"k{number}")

        await noted(kiosk, 5)


# --- what is sent ----------------------------------------------------------------------------------------------------


async def test_only_the_events_that_somebody_reacts_to_are_sent_and_the_position_goes_on(fair: Fair) -> None:
    await fair.open_till()
    await call(fair.till, Till.fill, ADA, 10)
    await call(fair.till, Till.pay, ADA, 1)
    counted = await call(fair.till, Till.count, ADA)
    peers = fair.peers()
    try:
        page = await peers.log("till", ["Paid"]).read_feed(0, 100)
    finally:
        await peers.close()

    assert [event.type for event in page.events] == ["Paid"]
    assert page.position == counted.position


@pytest.mark.parametrize("types", [["Counted"], ["Paid", "Counted"], ["OperatorActed"]])
async def test_events_that_nobody_there_reacts_to_are_refused(fair: Fair, types: list[str]) -> None:
    await fair.open_till()
    peers = fair.peers()
    try:
        with pytest.raises(LogUnavailable, match="The service street has no part that reads"):
            await peers.log("till", types).read_feed(0, 100)
    finally:
        await peers.close()


async def test_a_log_that_nobody_there_reacts_to_is_refused(fair: Fair) -> None:
    await fair.open_till()
    peers = fair.peers(name="money")
    try:
        with pytest.raises(LogUnavailable, match="The service money has no part that reacts to events of till"):
            await peers.log("till", ["Paid"]).read_feed(0, 100)
    finally:
        await peers.close()


async def test_a_log_that_ends_before_what_was_read_of_it_is_not_read_on(fair: Fair) -> None:
    await fair.open_till()
    peers = fair.peers()
    try:
        with pytest.raises(LogUnavailable, match="ends at position 0, and street has read it up to 7"):
            await peers.log("till", ["Paid"]).read_feed(7, 100)
    finally:
        await peers.close()


async def test_a_log_that_was_restored_alone_and_has_grown_since_is_not_read_on(fair: Fair) -> None:
    async with AsyncExitStack() as before:
        old = Fair(fair.folder, before)
        await old.open_till()
        await call(old.till, Till.fill, ADA, 1_000)
        await pay(old, 5)
    backup = fair.folder / "backup"
    shutil.copy(fair.folder / "till.db", backup)
    async with AsyncExitStack() as before:
        old = Fair(fair.folder, before)
        await old.open_till()
        async with old.kiosk() as street:
            await pay(old, 5)
            await noted(street, 10)
            await was_noted(street, 11)
    shutil.copy(backup, fair.folder / "till.db")
    await fair.open_till()
    await pay(fair, 20)  # other events are where those were that the kiosk has read

    async with fair.kiosk() as street:
        (reader,) = [one for one in await street.operations.readers() if one.kind == "policy"]
        assert (reader.position, reader.lag) == (11, None)
        await asyncio.sleep(0.5)
        assert (await call(street, Kiosk.noted, ADA)).result == 10


async def was_noted(street: App, position: int) -> None:
    """Wait until the service has written down that it has seen an event of the till's log."""

    async def is_noted() -> bool:
        document = await street.running["kiosk"].store.document("log/till")
        return document is not None and f'"position":{position}' in document.body

    await until(is_noted)


async def test_a_reader_is_told_at_once_that_the_log_has_grown(fair: Fair) -> None:
    await fair.open_till()
    peers = fair.peers()
    try:
        waiting = asyncio.create_task(peers.log("till", ["Paid"]).grown(0))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        filled = await call(fair.till, Till.fill, ADA, 10)

        assert await waiting == filled.position
    finally:
        await peers.close()


async def test_a_service_that_stops_lets_those_go_that_wait_for_its_log(fair: Fair) -> None:
    server = await fair.open_till()
    peers = fair.peers()
    try:
        waiting = asyncio.create_task(peers.log("till", ["Paid"]).grown(0))
        await asyncio.sleep(0.05)
        server.stop()

        assert await waiting == 0
    finally:
        await peers.close()


async def test_events_arrive_as_they_are_stored(fair: Fair) -> None:
    await fair.open_till()
    await call(fair.till, Till.fill, ADA, 10)
    await call(fair.till, Till.pay, ADA, 1)
    stored = [event async for event in fair.till.running["till"].source.stored() if event.type == "Paid"]
    peers = fair.peers()
    try:
        page = await peers.log("till", ["Paid"]).read_feed(0, 100)
    finally:
        await peers.close()

    assert list(page.events) == stored
