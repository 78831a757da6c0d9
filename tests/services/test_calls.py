"""A call of a module in another service: the same answers and refusals as in one process, and the truth about what may
have happened when there is no answer."""

import asyncio
import contextlib
import socket

import pytest

from craton.adapters.http import listen, serving_beside
from craton.adapters.services import Peers
from craton.adapters.services.identity import naming
from craton.application import Context
from craton.application.errors import CallFailed, DeadlineExceeded, KeyReused, MisuseError, Unavailable
from craton.runtime.topology import Address
from craton.testing.faults import Line
from craton.testing.until import until
from tests.services.fair import FAIR, Fair, Kiosk, PurseId, PurseNotFound, Till, TooLittle, call

ADA = PurseId("ada")


async def test_a_command_and_a_query_are_answered(fair: Fair) -> None:
    await fair.open_till()
    street = fair.caller()

    await call(street, Till.fill, ADA, 10)
    paid = await call(street, Till.pay, ADA, 3)

    assert (paid.result, paid.module) == (7, "till")
    assert paid.position > 0
    assert (await call(street, Till.left, ADA)).result == 7


async def test_a_use_case_asks_another_service_as_it_would_ask_a_module_beside_it(fair: Fair) -> None:
    await fair.open_till()
    async with fair.kiosk() as street:
        await call(fair.till, Till.fill, ADA, 1)

        assert (await call(street, Kiosk.advice, ADA)).result == "buy"


async def test_a_refusal_is_raised_as_itself_with_its_details(fair: Fair) -> None:
    await fair.open_till()
    street = fair.caller()
    await call(street, Till.fill, ADA, 2)

    with pytest.raises(TooLittle) as refused:
        await call(street, Till.pay, ADA, 3)

    assert (refused.value.purse, refused.value.left) == (ADA, 2)


async def test_what_is_not_there_is_refused_as_not_found(fair: Fair) -> None:
    await fair.open_till()

    with pytest.raises(PurseNotFound):
        await call(fair.caller(), Till.left, ADA)


async def test_a_mistake_in_the_code_of_the_other_service_is_told_without_its_text(fair: Fair) -> None:
    await fair.open_till()

    with pytest.raises(
        CallFailed, match=r"Till\.stumble failed; the log of the service that runs it says more"
    ) as failed:
        await call(fair.caller(), Till.stumble)

    assert "secret" not in str(failed.value)


async def test_a_command_of_another_service_is_refused_inside_a_unit_of_work(fair: Fair) -> None:
    await fair.open_till()
    async with fair.kiosk() as street:
        await call(fair.till, Till.fill, ADA, 5)

        with pytest.raises(MisuseError, match="that would be a dual write"):
            await call(street, Kiosk.sell, ADA)

        assert (await call(street, Kiosk.advice, ADA)).result == "buy"


# --- keys ------------------------------------------------------------------------------------------------------------


async def test_a_command_with_the_same_key_runs_once(fair: Fair) -> None:
    await fair.open_till()
    street = fair.caller()
    await call(street, Till.fill, ADA, 10)

    first = await call(street, Till.pay, ADA, 3, key="k")
    again = await call(street, Till.pay, ADA, 3, key="k")

    assert (first.result, first.replayed) == (7, False)
    assert (again.result, again.replayed) == (7, True)


async def test_a_key_that_was_used_for_something_else_is_told(fair: Fair) -> None:
    await fair.open_till()
    street = fair.caller()
    await call(street, Till.fill, ADA, 10)
    await call(street, Till.pay, ADA, 3, key="k")

    with pytest.raises(KeyReused):
        await call(street, Till.pay, ADA, 4, key="k")


@pytest.mark.parametrize("key", ["a key of the caller's", ""])
async def test_a_command_whose_answer_is_lost_is_sent_again_and_runs_once(fair: Fair, key: str) -> None:
    await fair.open_till()
    await call(fair.till, Till.fill, ADA, 10)
    with Line(fair.folder / "till", at=fair.folder / "line") as line:
        street = fair.caller("line")
        await call(street, Till.left, ADA)
        line.cut_after(0)  # the till is told, and its answer is cut off

        paying = asyncio.create_task(call(street, Till.pay, ADA, 3, key=key))
        await until(lambda: _has_left(fair, 7))
        line.heal()

        assert (await paying).result == 7
    assert (await call(fair.till, Till.left, ADA)).result == 7


async def _has_left(fair: Fair, amount: int) -> bool:
    return bool((await call(fair.till, Till.left, ADA)).result == amount)


# --- no answer -------------------------------------------------------------------------------------------------------


async def test_where_nothing_listens_nothing_can_have_run(fair: Fair) -> None:
    with pytest.raises(Unavailable) as failed:
        await call(fair.caller(), Till.pay, ADA, 3)

    assert not failed.value.maybe_executed


async def test_a_command_that_is_never_answered_may_have_run(fair: Fair) -> None:
    await fair.open_till()
    with Line(fair.folder / "till", at=fair.folder / "line") as line:
        line.half_open("down")

        with pytest.raises(Unavailable) as failed:
            await call(fair.caller("line"), Till.fill, ADA, 3, seconds=0.6)

    assert failed.value.maybe_executed
    assert (await call(fair.till, Till.left, ADA)).result == 3


async def test_a_query_that_is_never_answered_has_changed_nothing(fair: Fair) -> None:
    await fair.open_till()
    with Line(fair.folder / "till", at=fair.folder / "line") as line:
        line.black_hole()

        with pytest.raises(Unavailable) as failed:
            await call(fair.caller("line"), Till.left, ADA, seconds=0.4)

    assert not failed.value.maybe_executed


async def test_a_call_ends_with_its_deadline_whatever_the_other_service_does(fair: Fair) -> None:
    await fair.open_till()

    with pytest.raises(DeadlineExceeded):
        await call(fair.caller(), Till.wait, 30.0, seconds=0.3)


async def test_the_other_service_knows_how_long_the_caller_waits(fair: Fair) -> None:
    await fair.open_till()

    left = (await call(fair.caller(), Till.wait, 0.0, seconds=9.0)).result

    assert 0 < left <= 9.0


async def test_a_call_whose_deadline_has_passed_is_not_sent(fair: Fair) -> None:
    with pytest.raises(DeadlineExceeded) as failed:
        await call(fair.caller(), Till.pay, ADA, 3, seconds=-1.0)

    assert not failed.value.maybe_executed


async def test_it_goes_on_as_soon_as_the_other_service_is_back(fair: Fair) -> None:
    street = fair.caller()
    for _ in range(3):
        with pytest.raises(Unavailable):
            await call(street, Till.fill, ADA, 1)
    await fair.open_till()

    async def is_answered() -> bool:
        try:
            await call(street, Till.fill, PurseId("bob"), 1, key="once")
        except Unavailable:
            return False
        return True

    await until(is_answered)


# --- replicas --------------------------------------------------------------------------------------------------------


async def test_a_replica_that_stops_begins_nothing_and_another_one_is_asked(fair: Fair) -> None:
    first = await fair.open_till("first")
    await fair.open_till("second", runs=False)
    street = fair.caller("first", "second")
    await call(street, Till.fill, ADA, 100)
    first.stop()

    for number in range(20):
        await call(street, Till.pay, ADA, 1, key=f"k{number}")

    assert (await call(street, Till.left, ADA)).result == 80


async def test_where_all_replicas_stop_nothing_can_have_run(fair: Fair) -> None:
    only = await fair.open_till()
    only.stop()

    with pytest.raises(Unavailable, match="stopping") as failed:
        await call(fair.caller(), Till.fill, ADA, 1)

    assert not failed.value.maybe_executed


async def test_a_replica_that_is_gone_is_left_out(fair: Fair) -> None:
    await fair.open_till("second")
    street = fair.caller("gone", "second")
    await call(street, Till.fill, ADA, 100)

    for _ in range(10):
        await call(street, Till.pay, ADA, 1)

    assert (await call(street, Till.left, ADA)).result == 90


async def test_the_less_busy_replica_is_asked(fair: Fair) -> None:
    await fair.open_till()
    await call(fair.till, Till.fill, ADA, 100)
    with Line(fair.folder / "till", at=fair.folder / "slow") as slow:
        street = fair.caller("slow", "till")
        slow.black_hole()
        stuck = asyncio.create_task(call(street, Till.left, ADA))
        await asyncio.to_thread(slow.has_accepted.wait)

        for _ in range(20):
            await call(street, Till.left, ADA)

        assert not stuck.done()
        slow.heal()
        assert (await stuck).result == 100


async def test_two_replicas_that_change_one_aggregate_at_the_same_time_lose_nothing(fair: Fair) -> None:
    await fair.open_till("first")
    await fair.open_till("second")  # with a store of its own, as another process has
    street = fair.caller("first", "second")
    await call(street, Till.fill, ADA, 1_000)

    async def pay(number: int) -> None:
        while True:
            try:
                await call(street, Till.pay, ADA, 1, key=f"k{number}")
                return
            except Unavailable:  # it has collided too often; the key makes sure that it runs once
                continue

    await asyncio.gather(*(pay(number) for number in range(100)))

    assert (await call(street, Till.left, ADA)).result == 900


# --- what a service may ask ------------------------------------------------------------------------------------------


async def test_a_service_none_of_whose_parts_asks_for_a_module_may_not_call_it(fair: Fair) -> None:
    await fair.open_till()

    with pytest.raises(Unavailable, match="The service money has no part that asks for Till") as failed:
        await call(fair.caller(name="money"), Till.fill, ADA, 1)

    assert not failed.value.maybe_executed


async def test_a_name_that_is_no_service_may_ask_nothing(fair: Fair) -> None:
    await fair.open_till()

    with pytest.raises(Unavailable, match="There is no service 'stranger' in the topology"):
        await call(fair.caller(name="stranger"), Till.left, ADA)


async def test_the_socket_is_only_for_processes_of_this_user(fair: Fair) -> None:
    await fair.open_till()

    assert (fair.folder / "till").stat().st_mode & 0o777 == 0o600


async def test_a_second_process_does_not_take_the_socket_of_one_that_runs(fair: Fair) -> None:
    await fair.open_till()

    with pytest.raises(OSError, match="Another process listens there"):
        await fair.open_till(runs=False)


async def test_a_call_for_a_later_version_is_not_begun(fair: Fair) -> None:
    await fair.open_till()
    peers = fair.peers()
    operation = Till.operations["pay"]
    try:
        with pytest.raises(Unavailable, match="don't fit this version of it") as failed:
            await peers.call("till", operation, {"purse": ADA, "amount": 1, "tip": 2}, Context())
    finally:
        await peers.close()

    assert not failed.value.maybe_executed


async def test_a_service_that_does_not_answer_is_known_to_be_away_until_it_does(fair: Fair) -> None:
    street = fair.caller()
    with pytest.raises(Unavailable):
        await call(street, Till.left, ADA)
    assert list(street.away) == ["money"]
    await fair.open_till()

    async def is_back() -> bool:
        with contextlib.suppress(Unavailable, PurseNotFound):
            await call(street, Till.left, ADA)
        return not street.away

    await until(is_back)


async def test_names_are_resolved_again_because_replicas_come_and_go(
    fair: Fair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("craton.adapters.services.endpoints.RESOLVE_SECONDS", 0.05)
    known = {"till.test": "127.0.0.2"}
    server = await fair.open_till()
    loop = asyncio.get_running_loop()

    async def resolved(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (known[host], port))]

    monkeypatch.setattr(loop, "getaddrinfo", resolved)
    with listen("127.0.0.1", 0) as listening:
        async with serving_beside(server, listening):
            address = Address(f"http://till.test:{listening.getsockname()[1]}")
            peers = Peers("street", {"money": [address]}, {"till": "money"}, naming("street"))
            try:
                street = FAIR.part((), peers)
                with pytest.raises(Unavailable):  # nothing listens there
                    await call(street, Till.fill, ADA, 3)
                known["till.test"] = "127.0.0.1"

                async def is_found() -> bool:
                    with contextlib.suppress(Unavailable):
                        await call(street, Till.fill, ADA, 3, key="once")
                        return True
                    return False

                await until(is_found)
            finally:
                await peers.close()
    assert (await call(fair.till, Till.left, ADA)).result == 3


async def test_a_call_ends_with_its_deadline_though_the_name_server_is_silent(
    fair: Fair, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(*_: object, **__: object) -> None:
        await asyncio.sleep(3_600)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", silent)
    peers = Peers("street", {"money": [Address("http://till.test:1")]}, {"till": "money"}, naming("street"))
    try:
        with pytest.raises(Unavailable) as failed:
            await call(FAIR.part((), peers), Till.fill, ADA, 3, seconds=0.2)
    finally:
        await peers.close()

    assert not failed.value.maybe_executed
