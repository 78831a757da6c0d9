"""Transfers: each has two sides, and each rule has a refusal of its own."""

from typing import Any

import pytest

from craton.domain import CurrencyMismatch, Money, Text
from market.ledger.api import Side
from market.ledger.events import (
    AccountId,
    AmountNotPositive,
    InsufficientFunds,
    SameAccount,
    TransferId,
    TransferStatus,
)
from tests.market.bank import Bank
from tests.market.money import EUR, JPY, eur
from tests.market.refusals import code_of


async def test_a_transfer_debits_one_account_and_credits_the_other(bank: Bank) -> None:
    source, target = await bank.open("10"), await bank.open("1")

    transfer = await bank.ledger.transfer(source, target, eur("4"), reference=Text("lunch"))

    debit, credit = (await bank.statement(source))[-1], (await bank.statement(target))[-1]
    assert (debit.side, credit.side) == (Side.DEBIT, Side.CREDIT)
    assert debit.transfer == credit.transfer == transfer
    assert debit.money == credit.money == eur("4")
    assert debit.reference == credit.reference == "lunch"
    assert (debit.counterparty, credit.counterparty) == (target, source)
    assert (debit.balance, credit.balance) == (eur("6"), eur("5"))
    assert debit.time == credit.time


async def test_a_deposit_comes_from_the_world_outside(bank: Bank) -> None:
    account = await bank.open()

    transfer = await bank.ledger.deposit(account, eur("7"))

    outside = AccountId.external(EUR)
    (credit,), (debit,) = await bank.statement(account), await bank.statement(outside)
    assert (credit.side, credit.counterparty, credit.transfer) == (Side.CREDIT, outside, transfer)
    assert (debit.side, debit.counterparty, debit.transfer) == (Side.DEBIT, account, transfer)
    assert (await bank.balance(account), await bank.balance(outside)) == (eur("7"), eur("-7"))


async def test_a_withdrawal_goes_to_the_world_outside(bank: Bank) -> None:
    account = await bank.open("7")

    await bank.ledger.withdraw(account, eur("5"))

    assert await bank.balance(account) == eur("2")
    assert await bank.balance(AccountId.external(EUR)) == eur("-2")


async def test_each_currency_has_a_world_outside_of_its_own(bank: Bank) -> None:
    await bank.open("7")
    await bank.open("100", JPY)

    assert await bank.balance(AccountId.external(EUR)) == eur("-7")
    assert await bank.balance(AccountId.external(JPY)) == Money.of("-100", "JPY")


async def test_a_transfer_can_be_looked_up(bank: Bank) -> None:
    source, target = await bank.open("10"), await bank.open()

    id = await bank.ledger.transfer(source, target, eur("4"), reference=Text("lunch"))

    state = await bank.ledger.transfer_state(id)
    assert (state.id, state.source, state.target, state.money) == (id, source, target, eur("4"))
    assert (state.status, state.reference) == (TransferStatus.POSTED, "lunch")


async def test_an_unknown_transfer_is_not_found(bank: Bank) -> None:
    assert await code_of(bank.ledger.transfer_state(TransferId.new())) == "transfer-not-found"


async def test_all_that_is_available_can_be_spent(bank: Bank) -> None:
    source, target = await bank.open("10"), await bank.open()

    await bank.ledger.transfer(source, target, eur("10"))

    assert (await bank.balance(source), await bank.balance(target)) == (eur("0"), eur("10"))


async def test_a_customer_cannot_spend_a_cent_more_than_is_available(bank: Bank) -> None:
    source, target = await bank.open("10"), await bank.open()

    with pytest.raises(InsufficientFunds) as refused:
        await bank.ledger.transfer(source, target, eur("10.01"))

    assert (refused.value.account, refused.value.available) == (source, eur("10"))
    assert (await bank.balance(source), await bank.balance(target)) == (eur("10"), eur("0"))


async def test_a_customer_cannot_withdraw_more_than_is_available(bank: Bank) -> None:
    account = await bank.open("10")

    assert await code_of(bank.ledger.withdraw(account, eur("10.01"))) == "insufficient-funds"


@pytest.mark.parametrize("amount", ["0", "-0.01", "-90000000000000"])
async def test_an_amount_must_be_more_than_zero(bank: Bank, amount: str) -> None:
    source, target = await bank.open("10"), await bank.open("10")

    calls: list[Any] = [
        bank.ledger.transfer(source, target, eur(amount)),
        bank.ledger.transfer(source, target, eur(amount), pending=True),
        bank.ledger.deposit(source, eur(amount)),
        bank.ledger.withdraw(source, eur(amount)),
    ]

    for call in calls:
        with pytest.raises(AmountNotPositive):
            await call
    assert (await bank.balance(source), await bank.balance(target)) == (eur("10"), eur("10"))


async def test_money_of_another_currency_is_refused(bank: Bank) -> None:
    source, target = await bank.open("10"), await bank.open()
    yen = Money.of("1", "JPY")

    calls: list[Any] = [
        bank.ledger.transfer(source, target, yen),
        bank.ledger.transfer(source, target, yen, pending=True),
        bank.ledger.deposit(source, yen),
        bank.ledger.withdraw(source, yen),
    ]

    for call in calls:
        with pytest.raises(CurrencyMismatch):
            await call
    assert await code_of(bank.ledger.account(AccountId.external(JPY))) == "account-not-found"


async def test_accounts_of_two_currencies_cannot_exchange_money(bank: Bank) -> None:
    euros, yen = await bank.open("10"), await bank.open("10", JPY)

    assert await code_of(bank.ledger.transfer(euros, yen, eur("1"))) == "currency-mismatch"
    assert await code_of(bank.ledger.transfer(yen, euros, eur("1"))) == "currency-mismatch"


@pytest.mark.parametrize("pending", [False, True])
async def test_money_cannot_be_moved_from_an_account_to_itself(bank: Bank, pending: bool) -> None:
    account = await bank.open("10")

    with pytest.raises(SameAccount) as refused:
        await bank.ledger.transfer(account, account, eur("1"), pending=pending)

    assert refused.value.account == account
    assert len(await bank.statement(account)) == 1


async def test_the_world_outside_cannot_pay_itself(bank: Bank) -> None:
    await bank.open("10")
    outside = AccountId.external(EUR)

    assert await code_of(bank.ledger.deposit(outside, eur("1"))) == "same-account"
    assert await code_of(bank.ledger.withdraw(outside, eur("1"))) == "same-account"


async def test_both_accounts_must_exist(bank: Bank) -> None:
    account, nobody = await bank.open("10"), AccountId.new()

    refusals = [
        await code_of(bank.ledger.transfer(account, nobody, eur("1"))),
        await code_of(bank.ledger.transfer(nobody, account, eur("1"))),
        await code_of(bank.ledger.deposit(nobody, eur("1"))),
        await code_of(bank.ledger.withdraw(nobody, eur("1"))),
    ]

    assert set(refusals) == {"account-not-found"}


async def test_only_a_pending_transfer_can_expire(bank: Bank) -> None:
    source, target = await bank.open("10"), await bank.open()

    assert await code_of(bank.ledger.transfer(source, target, eur("1"), expires_in=60)) == "expiry-without-hold"
    assert await bank.balance(source) == eur("10")


async def test_a_refused_transfer_leaves_no_trace(bank: Bank) -> None:
    source, target = await bank.open("10"), await bank.open()
    before = await bank.running.store.head()

    await code_of(bank.ledger.transfer(source, target, eur("11")))

    assert await bank.running.store.head() == before
