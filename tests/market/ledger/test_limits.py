"""The ledger at the bounds of money: ±9 · 10¹⁵ minor units. Balances are bounded, totals are not."""

from market.ledger.api import TransferOrder
from market.ledger.events import AccountId
from tests.market.bank import Bank
from tests.market.money import EUR, eur
from tests.market.refusals import code_of

MOST = eur("90000000000000.00")


async def test_an_account_may_hold_the_largest_amount(bank: Bank) -> None:
    account = await bank.open()

    await bank.ledger.deposit(account, MOST)

    assert await bank.balance(account) == MOST


async def test_more_than_the_world_outside_can_owe_is_refused_and_changes_nothing(bank: Bank) -> None:
    rich, poor = await bank.open(), await bank.open()
    await bank.ledger.deposit(rich, MOST)

    assert await code_of(bank.ledger.deposit(poor, eur("0.01"))) == "amount-too-large"
    assert (await bank.balance(poor), await bank.balance(AccountId.external(EUR))) == (eur("0"), -MOST)


async def test_a_batch_at_the_bounds_never_loses_money(bank: Bank) -> None:
    one, other = await bank.open(), await bank.open()
    await bank.ledger.deposit(one, MOST)
    await bank.ledger.transfer(one, other, MOST)

    await bank.ledger.transfer_batch((TransferOrder(source=other, target=one, money=MOST),), atomic=False)

    outside = await bank.balance(AccountId.external(EUR))
    assert await bank.balance(one) + await bank.balance(other) + outside == eur("0")
    assert await bank.problems() == []


async def test_the_same_money_may_go_back_and_forth_without_end(bank: Bank) -> None:
    one, other = await bank.open(), await bank.open()
    await bank.ledger.deposit(one, MOST)

    for source, target in ((one, other), (other, one), (one, other)):
        assert await code_of(bank.ledger.transfer(source, target, MOST)) == ""

    assert (await bank.balance(one), await bank.balance(other)) == (eur("0"), MOST)


async def test_deposits_and_withdrawals_do_not_use_up_the_external_account(bank: Bank) -> None:
    account, other = await bank.open(), await bank.open()
    await bank.ledger.deposit(account, MOST)
    await bank.ledger.withdraw(account, MOST)

    assert await code_of(bank.ledger.deposit(other, eur("1"))) == ""
    assert await bank.balance(other) == eur("1")


async def test_a_trial_balance_can_be_drawn_after_movements_beyond_the_bound(bank: Bank) -> None:
    one, other = await bank.open(), await bank.open()
    await bank.ledger.deposit(one, MOST)
    await bank.ledger.transfer(one, other, MOST)

    assert await code_of(bank.ledger.trial_balance()) == ""
    assert await bank.differences() == {"EUR": eur("0")}


async def test_no_more_is_held_of_an_account_than_can_be_shown(bank: Bank) -> None:
    account, outside = await bank.open(), AccountId.external(EUR)
    await bank.ledger.deposit(account, MOST)

    assert await code_of(bank.ledger.transfer(outside, account, eur("0.01"), pending=True)) == "amount-too-large"

    assert (await bank.ledger.account(outside)).available == -MOST
