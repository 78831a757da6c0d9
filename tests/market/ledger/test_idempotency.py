"""A command that is repeated with its key has one effect and one answer."""

import asyncio

import pytest

from craton.application.errors import KeyReused
from market.ledger.api import Ledger
from market.ledger.events import InsufficientFunds
from tests.market.bank import Bank, BankPlace
from tests.market.money import eur


async def test_a_repeated_command_has_one_effect_and_the_same_answer(bank: Bank) -> None:
    account = await bank.open()

    first = await bank.keyed("k", Ledger.deposit, account=account, money=eur("5"))
    again = await bank.keyed("k", Ledger.deposit, account=account, money=eur("5"))

    assert (again.result, again.position, again.replayed) == (first.result, first.position, True)
    assert await bank.balance(account) == eur("5")


async def test_many_at_once_with_one_key_have_one_effect(bank: Bank) -> None:
    account = await bank.open()

    answers = await asyncio.gather(
        *(bank.keyed("k", Ledger.deposit, account=account, money=eur("5")) for _ in range(50))
    )

    assert len({answer.result for answer in answers}) == 1
    assert [answer.replayed for answer in answers].count(False) == 1
    assert await bank.balance(account) == eur("5")


async def test_two_processes_with_one_key_have_one_effect(place: BankPlace) -> None:
    async with place.open() as here, place.open() as there:
        account = await here.open()

        for n in range(10):
            answers = await asyncio.gather(
                *(
                    bank.keyed(f"k{n}", Ledger.deposit, account=account, money=eur("1"))
                    for bank in (here, there, here, there)
                )
            )
            assert len({answer.result for answer in answers}) == 1

        assert await here.balance(account) == eur("10")


async def test_a_repeated_command_is_remembered_across_a_restart(place: BankPlace) -> None:
    async with place.open() as bank:
        account = await bank.open()
        first = await bank.keyed("k", Ledger.deposit, account=account, money=eur("5"))

    async with place.open() as bank:
        again = await bank.keyed("k", Ledger.deposit, account=account, money=eur("5"))

        assert (again.result, again.replayed) == (first.result, True)
        assert await bank.balance(account) == eur("5")


async def test_a_key_cannot_be_used_for_another_request(bank: Bank) -> None:
    account = await bank.open()
    await bank.keyed("k", Ledger.deposit, account=account, money=eur("5"))

    with pytest.raises(KeyReused):
        await bank.keyed("k", Ledger.deposit, account=account, money=eur("6"))

    assert await bank.balance(account) == eur("5")


async def test_a_key_belongs_to_its_command(bank: Bank) -> None:
    account = await bank.open("10")
    await bank.keyed("k", Ledger.deposit, account=account, money=eur("5"))

    await bank.keyed("k", Ledger.withdraw, account=account, money=eur("5"))

    assert await bank.balance(account) == eur("10")


async def test_a_refusal_is_remembered_too(bank: Bank) -> None:
    account = await bank.open()
    with pytest.raises(InsufficientFunds) as first:
        await bank.keyed("k", Ledger.withdraw, account=account, money=eur("5"))
    await bank.ledger.deposit(account, eur("5"))

    with pytest.raises(InsufficientFunds) as again:
        await bank.keyed("k", Ledger.withdraw, account=account, money=eur("5"))

    assert again.value == first.value
    assert await bank.balance(account) == eur("5")


async def test_a_repeated_hold_holds_once(bank: Bank) -> None:
    source, target = await bank.open("10"), await bank.open()

    for _ in range(3):
        await bank.keyed("k", Ledger.transfer, source=source, target=target, money=eur("4"), pending=True)

    assert (await bank.ledger.account(source)).held == eur("4")
