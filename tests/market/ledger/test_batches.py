"""Linked transfers: in order, with a result for each; if atomic, all or none."""

import asyncio

import pytest

from market.ledger.api import TransferOrder
from market.ledger.events import AccountId, BatchRefused, TransferResult
from tests.market.bank import Bank
from tests.market.money import eur
from tests.market.refusals import code_of


def order(source: AccountId, target: AccountId, amount: str) -> TransferOrder:
    return TransferOrder(source=source, target=target, money=eur(amount))


async def test_a_batch_makes_all_its_transfers_in_order(bank: Bank) -> None:
    one, two, three = await bank.open("10"), await bank.open(), await bank.open()

    results = await bank.ledger.transfer_batch((order(one, two, "10"), order(two, three, "10")))

    assert [result.code for result in results] == [None, None]
    assert [await bank.balance(account) for account in (one, two, three)] == [eur("0"), eur("0"), eur("10")]


async def test_each_transfer_of_a_batch_can_be_looked_up(bank: Bank) -> None:
    one, two = await bank.open("10"), await bank.open()

    results = await bank.ledger.transfer_batch((order(one, two, "1"), order(one, two, "2")))

    amounts = [(await bank.ledger.transfer_state(result.id)).money for result in results if result.id]
    assert amounts == [eur("1"), eur("2")]


async def test_an_atomic_batch_with_a_refused_transfer_makes_none(bank: Bank) -> None:
    one, two = await bank.open("10"), await bank.open()

    with pytest.raises(BatchRefused) as refused:
        await bank.ledger.transfer_batch((order(one, two, "1"), order(one, two, "10"), order(two, one, "1")))

    first, second, third = refused.value.results
    assert (first, third) == (TransferResult(), TransferResult())
    assert (second.id, second.code) == (None, "insufficient-funds")
    assert (await bank.balance(one), await bank.balance(two)) == (eur("10"), eur("0"))


async def test_a_batch_that_is_not_atomic_makes_those_that_can_be_made(bank: Bank) -> None:
    one, two, nobody = await bank.open("10"), await bank.open(), AccountId.new()

    results = await bank.ledger.transfer_batch(
        (
            order(one, two, "8"),
            order(one, two, "8"),
            order(one, nobody, "1"),
            order(one, one, "1"),
            order(two, one, "3"),
        ),
        atomic=False,
    )

    codes = [result.code for result in results]
    assert codes == [None, "insufficient-funds", "account-not-found", "same-account", None]
    assert [result.id is None for result in results] == [False, True, True, True, False]
    assert (await bank.balance(one), await bank.balance(two)) == (eur("5"), eur("5"))


async def test_a_batch_is_atomic_unless_said_otherwise(bank: Bank) -> None:
    one, two = await bank.open("10"), await bank.open()

    assert await code_of(bank.ledger.transfer_batch((order(one, two, "1"), order(two, one, "5")))) == "batch-refused"
    assert await bank.balance(one) == eur("10")


async def test_batches_that_collide_are_still_all_or_none(bank: Bank) -> None:
    accounts = [await bank.open("10") for _ in range(4)]
    ring = tuple(order(accounts[n], accounts[(n + 1) % 4], "10") for n in range(4))

    codes = await asyncio.gather(*(code_of(bank.ledger.transfer_batch(ring)) for _ in range(20)))

    assert set(codes) == {""}
    assert [await bank.balance(account) for account in accounts] == [eur("10")] * 4
    assert {len(await bank.statement(account)) for account in accounts} == {41}
