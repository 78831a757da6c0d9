"""Accounts: opening, what they show, closing."""

import pytest

from craton.domain import Name, Text
from market.ledger.events import AccountId, AccountKind, BalanceNotZero
from tests.market.bank import Bank
from tests.market.money import EUR, JPY, eur
from tests.market.refusals import code_of


async def test_a_new_account_is_open_and_empty(bank: Bank) -> None:
    id = await bank.ledger.open_account(Name(" Ada Lovelace "), EUR)

    account = await bank.ledger.account(id)

    assert (account.id, account.owner, account.currency, account.kind) == (
        id,
        "Ada Lovelace",
        EUR,
        AccountKind.LIABILITY,
    )
    assert (account.balance, account.held, account.available) == (eur("0"), eur("0"), eur("0"))
    assert (account.transaction_count, account.closed, account.version) == (0, False, 1)


@pytest.mark.parametrize("owner", ["", "   "])
async def test_an_account_needs_an_owner(bank: Bank, owner: str) -> None:
    assert await code_of(bank.ledger.open_account(Name(owner), EUR)) == "blank-owner"


async def test_an_account_keeps_its_currency(bank: Bank) -> None:
    id = await bank.open("500", JPY)

    assert (await bank.ledger.account(id)).balance.currency == JPY


async def test_an_account_counts_what_came_in_and_what_went_out(bank: Bank) -> None:
    id = await bank.open("10")
    await bank.ledger.deposit(id, eur("5"))
    await bank.ledger.withdraw(id, eur("3"))

    account = await bank.ledger.account(id)

    assert (account.balance, account.total_deposits, account.total_withdrawals) == (eur("12"), eur("15"), eur("3"))
    assert account.transaction_count == 3


async def test_an_unknown_account_is_not_found(bank: Bank) -> None:
    assert await code_of(bank.ledger.account(AccountId.new())) == "account-not-found"


async def test_an_unknown_account_has_no_statement(bank: Bank) -> None:
    assert await code_of(bank.ledger.entries(AccountId.new())) == "account-not-found"


async def test_an_unknown_account_has_no_audit(bank: Bank) -> None:
    assert await code_of(bank.ledger.events(AccountId.new())) == "account-not-found"


async def test_an_empty_account_can_be_closed(bank: Bank) -> None:
    id = await bank.open("10")
    await bank.ledger.withdraw(id, eur("10"))

    await bank.ledger.close_account(id, Text("moved away"))

    assert (await bank.ledger.account(id)).closed


async def test_an_account_with_a_balance_cannot_be_closed(bank: Bank) -> None:
    id = await bank.open("10")

    with pytest.raises(BalanceNotZero) as refused:
        await bank.ledger.close_account(id, Text("moved away"))

    assert (refused.value.balance, refused.value.held) == (eur("10"), eur("0"))
    assert not (await bank.ledger.account(id)).closed


async def test_a_closed_account_cannot_be_closed_again(bank: Bank) -> None:
    id = await bank.open()
    await bank.ledger.close_account(id, Text("moved away"))

    assert await code_of(bank.ledger.close_account(id, Text("once more"))) == "account-is-closed"


async def test_an_unknown_account_cannot_be_closed(bank: Bank) -> None:
    assert await code_of(bank.ledger.close_account(AccountId.new(), Text("x"))) == "account-not-found"


async def test_no_money_goes_into_or_out_of_a_closed_account(bank: Bank) -> None:
    closed, other = await bank.open(), await bank.open("10")
    await bank.ledger.close_account(closed, Text("moved away"))

    refusals = [
        await code_of(bank.ledger.deposit(closed, eur("1"))),
        await code_of(bank.ledger.withdraw(closed, eur("1"))),
        await code_of(bank.ledger.transfer(other, closed, eur("1"))),
        await code_of(bank.ledger.transfer(closed, other, eur("1"))),
        await code_of(bank.ledger.transfer(other, closed, eur("1"), pending=True)),
    ]

    assert set(refusals) == {"account-is-closed"}
    assert await bank.balance(other) == eur("10")


async def test_the_world_outside_cannot_be_closed(bank: Bank) -> None:
    id = await bank.open("10")
    await bank.ledger.withdraw(id, eur("10"))

    assert await code_of(bank.ledger.close_account(AccountId.external(EUR), Text("a prank"))) != ""
    assert await code_of(bank.ledger.deposit(id, eur("10"))) == ""


async def test_closing_an_account_needs_a_reason(bank: Bank) -> None:
    account = await bank.open()

    assert await code_of(bank.ledger.close_account(account, Text(" "))) == "blank-reason"
    assert not (await bank.ledger.account(account)).closed
