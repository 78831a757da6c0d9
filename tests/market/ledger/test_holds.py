"""Holds: money that is held until the transfer is posted or voided, once."""

import asyncio

import pytest

from craton.domain import Money, Text
from craton.testing import TurnedClock
from market.ledger.events import HoldExceeded, HoldResolved, TransferId, TransferStatus
from tests.market.bank import Bank, BankPlace
from tests.market.money import eur
from tests.market.refusals import code_of


async def test_what_is_held_is_still_there_but_not_available(bank: Bank) -> None:
    source, target = await bank.open("10"), await bank.open()

    hold = await bank.ledger.transfer(source, target, eur("4"), pending=True)

    account = await bank.ledger.account(source)
    assert (account.balance, account.held, account.available) == (eur("10"), eur("4"), eur("6"))
    assert await bank.balance(target) == eur("0")
    assert (await bank.ledger.transfer_state(hold)).status is TransferStatus.PENDING


async def test_what_is_held_cannot_be_spent(bank: Bank) -> None:
    source, target = await bank.open("10"), await bank.open()
    await bank.ledger.transfer(source, target, eur("4"), pending=True)

    refusals = [
        await code_of(bank.ledger.transfer(source, target, eur("6.01"))),
        await code_of(bank.ledger.withdraw(source, eur("6.01"))),
        await code_of(bank.ledger.transfer(source, target, eur("6.01"), pending=True)),
    ]

    assert set(refusals) == {"insufficient-funds"}
    await bank.ledger.withdraw(source, eur("6"))


async def test_a_posted_hold_moves_the_money(bank: Bank) -> None:
    source, target = await bank.open("10"), await bank.open()
    hold = await bank.ledger.transfer(source, target, eur("4"), pending=True, reference=Text("order 7"))

    await bank.ledger.post_transfer(hold)

    account = await bank.ledger.account(source)
    assert (account.balance, account.held, account.available) == (eur("6"), eur("0"), eur("6"))
    assert await bank.balance(target) == eur("4")
    (entry,) = await bank.statement(target)
    assert (entry.transfer, entry.reference) == (hold, "order 7")
    assert (await bank.ledger.transfer_state(hold)).status is TransferStatus.POSTED


async def test_less_than_was_held_can_be_posted_and_the_rest_is_available_again(bank: Bank) -> None:
    source, target = await bank.open("10"), await bank.open()
    hold = await bank.ledger.transfer(source, target, eur("4"), pending=True)

    await bank.ledger.post_transfer(hold, eur("1.50"))

    account = await bank.ledger.account(source)
    assert (account.balance, account.held, account.available) == (eur("8.50"), eur("0"), eur("8.50"))
    assert await bank.balance(target) == eur("1.50")
    assert (await bank.ledger.transfer_state(hold)).money == eur("1.50")


async def test_no_more_than_was_held_can_be_posted(bank: Bank) -> None:
    source, target = await bank.open("10"), await bank.open()
    hold = await bank.ledger.transfer(source, target, eur("4"), pending=True)

    with pytest.raises(HoldExceeded) as refused:
        await bank.ledger.post_transfer(hold, eur("4.01"))

    assert refused.value.held == eur("4")
    assert (await bank.ledger.account(source)).held == eur("4")


@pytest.mark.parametrize("money", [eur("0"), eur("-1")])
async def test_only_more_than_zero_can_be_posted(bank: Bank, money: Money) -> None:
    source, target = await bank.open("10"), await bank.open()
    hold = await bank.ledger.transfer(source, target, eur("4"), pending=True)

    assert await code_of(bank.ledger.post_transfer(hold, money)) == "amount-not-positive"


async def test_a_hold_cannot_be_posted_in_another_currency(bank: Bank) -> None:
    source, target = await bank.open("10"), await bank.open()
    hold = await bank.ledger.transfer(source, target, eur("4"), pending=True)

    assert await code_of(bank.ledger.post_transfer(hold, Money.of("1", "JPY"))) == "currency-mismatch"


async def test_a_voided_hold_makes_the_money_available_again(bank: Bank) -> None:
    source, target = await bank.open("10"), await bank.open()
    hold = await bank.ledger.transfer(source, target, eur("4"), pending=True)

    await bank.ledger.void_transfer(hold)

    account = await bank.ledger.account(source)
    assert (account.balance, account.held, account.available) == (eur("10"), eur("0"), eur("10"))
    assert await bank.balance(target) == eur("0")
    assert (await bank.ledger.transfer_state(hold)).status is TransferStatus.VOIDED


@pytest.mark.parametrize("first", ["post", "void"])
@pytest.mark.parametrize("second", ["post", "void"])
async def test_a_hold_is_resolved_at_most_once(bank: Bank, first: str, second: str) -> None:
    source, target = await bank.open("10"), await bank.open()
    hold = await bank.ledger.transfer(source, target, eur("4"), pending=True)
    resolve = {"post": bank.ledger.post_transfer, "void": bank.ledger.void_transfer}
    await resolve[first](hold)
    after_first = await bank.ledger.account(source)

    with pytest.raises(HoldResolved) as refused:
        await resolve[second](hold)

    assert refused.value.status == ("posted" if first == "post" else "voided")
    assert await bank.ledger.account(source) == after_first


async def test_an_unknown_hold_cannot_be_resolved(bank: Bank) -> None:
    assert await code_of(bank.ledger.post_transfer(TransferId.new())) == "transfer-not-found"
    assert await code_of(bank.ledger.void_transfer(TransferId.new())) == "transfer-not-found"


async def test_a_transfer_that_was_made_at_once_cannot_be_resolved(bank: Bank) -> None:
    source, target = await bank.open("10"), await bank.open()
    transfer = await bank.ledger.transfer(source, target, eur("4"))

    assert await code_of(bank.ledger.void_transfer(transfer)) != ""
    assert await bank.balance(target) == eur("4")


@pytest.mark.parametrize("second", ["post", "void"])
async def test_one_of_two_callers_that_resolve_a_hold_at_once_succeeds(bank: Bank, second: str) -> None:
    source, target = await bank.open("1000"), await bank.open()
    resolve = {"post": bank.ledger.post_transfer, "void": bank.ledger.void_transfer}
    for _ in range(20):
        hold = await bank.ledger.transfer(source, target, eur("1"), pending=True)

        codes = await asyncio.gather(code_of(bank.ledger.post_transfer(hold)), code_of(resolve[second](hold)))

        assert sorted(codes) == ["", "hold-resolved"]
    state = await bank.ledger.account(source)
    assert state.held == eur("0")
    assert state.balance + await bank.balance(target) == eur("1000")


@pytest.mark.parametrize("second", ["post", "void"])
async def test_one_of_two_processes_that_resolve_a_hold_at_once_succeeds(place: BankPlace, second: str) -> None:
    async with place.open() as here, place.open() as there:
        source, target = await here.open("1000"), await here.open()
        resolve = {"post": there.ledger.post_transfer, "void": there.ledger.void_transfer}
        for _ in range(10):
            hold = await here.ledger.transfer(source, target, eur("1"), pending=True)

            codes = await asyncio.gather(code_of(here.ledger.post_transfer(hold)), code_of(resolve[second](hold)))

            assert sorted(codes) == ["", "hold-resolved"]
        state = await here.ledger.account(source)
        assert state.held == eur("0")
        assert state.balance + await here.balance(target) == eur("1000")


async def test_a_hold_on_an_account_that_was_closed_since_can_only_be_voided(bank: Bank) -> None:
    source, target = await bank.open("10"), await bank.open()
    hold = await bank.ledger.transfer(source, target, eur("4"), pending=True)
    await bank.ledger.close_account(target, Text("moved away"))

    assert await code_of(bank.ledger.post_transfer(hold)) == "account-is-closed"
    await bank.ledger.void_transfer(hold)

    assert (await bank.ledger.account(source)).available == eur("10")


async def test_an_account_of_which_something_is_held_cannot_be_closed(bank: Bank) -> None:
    source, target = await bank.open("10"), await bank.open()
    hold = await bank.ledger.transfer(source, target, eur("10"), pending=True)

    assert await code_of(bank.ledger.close_account(source, Text("moved away"))) == "balance-not-zero"
    await bank.ledger.post_transfer(hold)
    await bank.ledger.close_account(source, Text("moved away"))


async def test_a_transfer_that_was_not_pending_cannot_be_posted_or_voided(bank: Bank) -> None:
    source, target = await bank.open("10"), await bank.open()
    moved = await bank.ledger.transfer(source, target, eur("4"))
    await bank.ledger.transfer_state(moved)

    for resolve in (bank.ledger.post_transfer, bank.ledger.void_transfer):
        assert await code_of(resolve(moved)) == "hold-resolved"
        assert await code_of(resolve(TransferId.new())) == "transfer-not-found"
    assert await bank.balance(target) == eur("4")


async def test_a_hold_voids_itself_when_it_expires(bank: Bank) -> None:
    source, target = await bank.open("10"), await bank.open()
    hold = await bank.ledger.transfer(source, target, eur("4"), pending=True, expires_in=60)

    await bank.turn(seconds=61)

    assert (await bank.ledger.transfer_state(hold)).status is TransferStatus.VOIDED
    assert (await bank.ledger.account(source)).available == eur("10")
    assert await code_of(bank.ledger.post_transfer(hold)) == "hold-resolved"


async def test_a_hold_stays_until_it_expires(timed_bank: Bank, clock: TurnedClock) -> None:
    bank = timed_bank
    source, target = await bank.open("10"), await bank.open()
    hold = await bank.ledger.transfer(source, target, eur("4"), pending=True, expires_in=60)

    clock.turn(seconds=59)
    await asyncio.sleep(0.7)

    assert (await bank.ledger.transfer_state(hold)).status is TransferStatus.PENDING
    await bank.ledger.post_transfer(hold)


async def test_a_hold_that_was_posted_in_time_does_not_expire(bank: Bank) -> None:
    source, target = await bank.open("10"), await bank.open()
    hold = await bank.ledger.transfer(source, target, eur("4"), pending=True, expires_in=60)
    await bank.ledger.post_transfer(hold)

    await bank.turn(seconds=61)

    assert await bank.running.store.next_timer() is None
    assert await bank.balance(target) == eur("4")
    assert (await bank.ledger.transfer_state(hold)).status is TransferStatus.POSTED


async def test_a_hold_expires_even_if_no_process_ran_at_that_time(place: BankPlace, clock: TurnedClock) -> None:
    async with place.open(clock) as bank:
        source, target = await bank.open("10"), await bank.open()
        hold = await bank.ledger.transfer(source, target, eur("4"), pending=True, expires_in=60)
    clock.turn(hours=1)

    async with place.open(clock) as bank:
        await bank.settled()

        assert (await bank.ledger.transfer_state(hold)).status is TransferStatus.VOIDED
        assert (await bank.ledger.account(source)).held == eur("0")


async def test_an_expired_hold_cannot_be_posted_even_if_no_timer_has_run(place: BankPlace, clock: TurnedClock) -> None:
    async with place.open(clock, subscriptions=False) as bank:
        source, target = await bank.open("10"), await bank.open()
        hold = await bank.ledger.transfer(source, target, eur("4"), pending=True, expires_in=60)

        clock.turn(days=1)

        assert await code_of(bank.ledger.post_transfer(hold)) != ""
