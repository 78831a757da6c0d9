"""Many callers at once: nothing deadlocks, and no money is lost or created."""

import asyncio

from craton.domain import Currency, Money
from craton.domain.money import EXPONENTS
from market.ledger.events import AccountId
from tests.market.bank import Bank, BankPlace
from tests.market.money import eur
from tests.market.refusals import code_of

CALLERS = 64


async def test_money_that_goes_back_and_forth_at_full_speed_stays_the_same(bank: Bank) -> None:
    one, two = await bank.open("1000"), await bank.open("1000")

    async def shuttle(caller: int) -> list[str]:
        source, target = (one, two) if caller % 2 else (two, one)
        return [await code_of(bank.ledger.transfer(source, target, eur("0.01"))) for _ in range(15)]

    codes = await asyncio.gather(*(shuttle(caller) for caller in range(CALLERS)))

    assert {code for some in codes for code in some} == {""}
    assert (await bank.balance(one), await bank.balance(two)) == (eur("1000"), eur("1000"))
    assert len(await bank.statement(one)) == len(await bank.statement(two)) == CALLERS * 15 + 1
    assert await bank.problems() == []


async def test_two_processes_move_the_same_money_without_losing_any(place: BankPlace) -> None:
    async with place.open() as here, place.open() as there:
        one, two = await here.open("1000"), await here.open("1000")

        async def shuttle(caller: int) -> list[str]:
            bank = (here, there)[caller % 2]
            source, target = (one, two) if caller % 4 < 2 else (two, one)
            return [await code_of(bank.ledger.transfer(source, target, eur("1"))) for _ in range(5)]

        codes = await asyncio.gather(*(shuttle(caller) for caller in range(16)))

        assert {code for some in codes for code in some} == {""}
        assert (await here.balance(one), await here.balance(two)) == (eur("1000"), eur("1000"))
        assert await here.problems() == []


async def test_many_withdrawals_at_once_never_overdraw_an_account(bank: Bank) -> None:
    account = await bank.open("50")

    codes = await asyncio.gather(*(code_of(bank.ledger.withdraw(account, eur("1"))) for _ in range(200)))

    assert (codes.count(""), codes.count("insufficient-funds")) == (50, 150)
    assert await bank.balance(account) == eur("0")


async def test_many_holds_at_once_hold_no_more_than_is_available(bank: Bank) -> None:
    source, target = await bank.open("50"), await bank.open()

    codes = await asyncio.gather(
        *(code_of(bank.ledger.transfer(source, target, eur("1"), pending=True)) for _ in range(100))
    )

    assert (codes.count(""), codes.count("insufficient-funds")) == (50, 50)
    state = await bank.ledger.account(source)
    assert (state.held, state.available) == (eur("50"), eur("0"))


async def test_the_first_deposits_of_a_currency_may_all_come_at_once(bank: Bank) -> None:
    for code in sorted(EXPONENTS)[:25]:
        currency = Currency(code)
        accounts = [await bank.open(currency=currency) for _ in range(4)]

        codes = await asyncio.gather(
            *(code_of(bank.ledger.deposit(accounts[n % 4], Money(1, currency))) for n in range(CALLERS))
        )

        assert set(codes) == {""}, code
        assert await bank.balance(AccountId.external(currency)) == Money(-CALLERS, currency)


async def test_the_first_deposits_of_a_currency_may_come_from_two_processes(place: BankPlace) -> None:
    async with place.open() as here, place.open() as there:
        for code in sorted(EXPONENTS)[:10]:
            currency = Currency(code)
            accounts = [await here.open(currency=currency) for _ in range(4)]

            codes = await asyncio.gather(
                *((here, there)[n % 2].ledger.deposit(accounts[n % 4], Money(1, currency)) for n in range(8)),
                return_exceptions=True,
            )

            assert not [problem for problem in codes if isinstance(problem, BaseException)], code
            assert await here.balance(AccountId.external(currency)) == Money(-8, currency)
