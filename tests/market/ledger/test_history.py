"""Time travel, statement, audit and trial balance: the ledger at any time in the past."""

from datetime import datetime

import pytest

from craton.application import Paging
from craton.domain import Money, Text
from craton.testing import TurnedClock
from market.ledger.api import AccountState, Ledger, Side
from market.ledger.events import AccountId
from tests.market.bank import Bank, BankPlace
from tests.market.money import JPY, eur
from tests.market.refusals import code_of


async def lived(bank: Bank, clock: TurnedClock) -> tuple[AccountId, list[tuple[datetime, AccountState]]]:
    """An account with an event each minute, and its state after each event."""
    account, other = await bank.open(), await bank.open("100")
    states: list[tuple[datetime, AccountState]] = []

    async def note() -> None:
        states.append((clock.time, await bank.ledger.account(account)))
        clock.turn(minutes=1)

    await note()
    await bank.ledger.deposit(account, eur("10"))
    await note()
    hold = await bank.ledger.transfer(account, other, eur("4"), pending=True)
    await note()
    await bank.ledger.transfer(other, account, eur("7"), reference=Text("rent"))
    await note()
    await bank.ledger.post_transfer(hold, eur("3"))
    await note()
    await bank.ledger.withdraw(account, eur("14"))
    await note()
    await bank.ledger.close_account(account, Text("moved away"))
    await note()
    return account, states


async def test_an_account_can_be_seen_as_it_was_at_any_time(timed_bank: Bank, clock: TurnedClock) -> None:
    account, states = await lived(timed_bank, clock)

    seen = [await timed_bank.ledger.account(account, at=time) for time, _ in states]

    assert seen == [state for _, state in states]


async def test_an_account_can_be_seen_as_it_was_at_any_version(timed_bank: Bank, clock: TurnedClock) -> None:
    account, states = await lived(timed_bank, clock)

    seen = [await timed_bank.ledger.account(account, version=state.version) for _, state in states]

    assert seen == [state for _, state in states]


async def test_before_it_was_opened_there_was_no_account(timed_bank: Bank, clock: TurnedClock) -> None:
    before = clock.time
    clock.turn(seconds=1)
    account = await timed_bank.open("10")

    assert await code_of(timed_bank.ledger.account(account, at=before)) == "account-not-found"


@pytest.mark.parametrize("version", [0, -1, 99])
async def test_a_version_that_never_was_is_not_found(timed_bank: Bank, version: int) -> None:
    account = await timed_bank.open("10")

    assert await code_of(timed_bank.ledger.account(account, version=version)) == "account-not-found"


async def test_time_travel_sees_beyond_snapshots(bank: Bank) -> None:
    account = await bank.open()
    for _ in range(250):
        await bank.ledger.deposit(account, eur("1"))

    seen = [(await bank.ledger.account(account, version=version)).balance for version in (1, 100, 101, 200, 251)]

    assert seen == [eur("0"), eur("99"), eur("100"), eur("199"), eur("250")]


async def test_the_statement_has_a_running_balance(timed_bank: Bank, clock: TurnedClock) -> None:
    account, _ = await lived(timed_bank, clock)

    entries = await timed_bank.statement(account)

    balance = eur("0")
    for entry in entries:
        balance = balance + entry.money if entry.side is Side.CREDIT else balance - entry.money
        assert entry.balance == balance
    assert [entry.money for entry in entries] == [eur("10"), eur("7"), eur("3"), eur("14")]


async def test_the_statement_is_newest_first_in_pages(timed_bank: Bank, clock: TurnedClock) -> None:
    account, _ = await lived(timed_bank, clock)

    first = await timed_bank.ledger.entries(account, paging=Paging(1, 3))
    second = await timed_bank.ledger.entries(account, paging=Paging(2, 3))

    assert [entry.money for entry in (*first.items, *second.items)] == [eur("14"), eur("3"), eur("7"), eur("10")]
    assert (first.total, first.page, first.page_size, first.total_pages) == (4, 1, 3, 2)
    assert second.page == 2


async def test_the_statement_can_be_limited_to_a_time_range(timed_bank: Bank, clock: TurnedClock) -> None:
    account, states = await lived(timed_bank, clock)
    times = [time for time, _ in states]

    found = await timed_bank.ledger.entries(account, from_=times[1], to=times[4])

    assert [entry.money for entry in found.items] == [eur("7"), eur("10")]


async def test_the_audit_shows_all_that_happened_newest_first(timed_bank: Bank, clock: TurnedClock) -> None:
    account, _ = await lived(timed_bank, clock)

    audit = await timed_bank.ledger.events(account)

    assert [event.type for event in audit.items] == [
        "AccountClosed",
        "MoneyDebited",
        "MoneyDebited",
        "HoldReleased",
        "MoneyCredited",
        "MoneyHeld",
        "MoneyCredited",
        "AccountOpened",
    ]
    assert [event.version for event in audit.items] == [8, 7, 6, 5, 4, 3, 2, 1]
    assert audit.items[0].data == {"reason": "moved away"}


async def test_the_audit_says_who_caused_it(bank: Bank) -> None:
    account = await bank.open()
    await bank.keyed("k1", Ledger.deposit, account=account, money=eur("1"))

    newest = (await bank.ledger.events(account)).items[0]

    assert (newest.metadata.actor, newest.metadata.key) == ("ada", "k1")


async def test_the_audit_comes_in_pages(timed_bank: Bank, clock: TurnedClock) -> None:
    account, _ = await lived(timed_bank, clock)

    pages = [await timed_bank.ledger.events(account, paging=Paging(page, 3)) for page in (1, 2, 3, 4)]

    assert [[event.version for event in page.items] for page in pages] == [[8, 7, 6], [5, 4, 3], [2, 1], []]
    assert {(page.total, page.total_pages) for page in pages} == {(8, 3)}


async def test_the_trial_balance_has_a_line_per_currency(bank: Bank) -> None:
    await bank.open("10")
    yen = await bank.open("500", JPY)
    await bank.ledger.withdraw(yen, Money.of("200", "JPY"))

    lines = (await bank.ledger.trial_balance()).lines

    assert [(line.currency, line.debits, line.credits) for line in lines] == [
        ("EUR", eur("10"), eur("10")),
        ("JPY", Money.of("700", "JPY"), Money.of("700", "JPY")),
    ]
    assert not any(line.difference for line in lines)


async def test_an_empty_ledger_has_an_empty_trial_balance(bank: Bank) -> None:
    assert (await bank.ledger.trial_balance()).lines == ()


async def test_the_trial_balance_can_be_drawn_for_a_past_time(timed_bank: Bank, clock: TurnedClock) -> None:
    await timed_bank.open("10")
    then = clock.turn(minutes=1)
    clock.turn(minutes=1)
    await timed_bank.open("5")

    (line,) = (await timed_bank.ledger.trial_balance(at=then)).lines

    assert (line.debits, line.credits, line.difference) == (eur("10"), eur("10"), eur("0"))


async def test_at_the_moment_of_an_event_the_trial_balance_and_the_account_include_it(
    timed_bank: Bank, clock: TurnedClock
) -> None:
    account = await timed_bank.open("10")
    moment = clock.time
    clock.turn(minutes=1)

    balance = (await timed_bank.ledger.account(account, at=moment)).balance
    lines = (await timed_bank.ledger.trial_balance(at=moment)).lines

    assert balance == eur("10")
    assert [line.credits for line in lines] == [balance]


async def test_the_read_models_say_the_same_after_a_restart(place: BankPlace, clock: TurnedClock) -> None:
    async with place.open(clock) as bank:
        account, states = await lived(bank, clock)
        entries = await bank.statement(account)

    async with place.open(clock) as bank:
        assert await bank.ledger.account(account) == states[-1][1]
        assert await bank.statement(account) == entries
