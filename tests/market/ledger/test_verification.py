"""`verify` finds changes to the log and to the read models."""

import pytest

from market.ledger.events import AccountId
from tests.market.bank import Bank, BankPlace
from tests.market.money import eur


async def filled(place: BankPlace) -> AccountId:
    """A ledger with a few movements, all projected and sealed."""
    async with place.open() as bank:
        one, two = await bank.open("100"), await bank.open("50")
        await bank.ledger.transfer(one, two, eur("30"))
        hold = await bank.ledger.transfer(one, two, eur("20"), pending=True)
        await bank.ledger.post_transfer(hold, eur("5"))
        await bank.ledger.transfer(two, one, eur("7"), pending=True)
        await bank.settled()
        return one


async def problems(place: BankPlace) -> list[str]:
    async with place.open(subscriptions=False) as bank:
        return await bank.problems()


async def test_an_untouched_ledger_has_no_problems(place: BankPlace) -> None:
    await filled(place)

    assert await problems(place) == []


async def test_an_empty_ledger_has_no_problems(bank: Bank) -> None:
    assert await bank.problems() == []


@pytest.mark.parametrize(
    "change",
    [
        "data = replace(data, '100.00', '900.00')",
        "type = 'MoneyDebited'",
        "time = '2001-01-01T00:00:00.000000+00:00'",
        'metadata = \'{"actor":"somebody else"}\'',
        "stream = 'account-0195f000-0000-7000-8000-000000000000'",
        "id = '0195f000-0000-7000-8000-000000000000'",
    ],
)
async def test_a_changed_event_is_found(place: BankPlace, change: str) -> None:
    await filled(place)

    # The event is the credit of the first deposit, at position 3 or next to it.
    await place.sql(f"UPDATE events SET {change} WHERE type = 'MoneyCredited' AND data LIKE '%100.00%'")

    found = await problems(place)
    assert any("seal is broken" in problem for problem in found)


async def test_a_removed_event_is_found(place: BankPlace) -> None:
    await filled(place)

    await place.sql("DELETE FROM events WHERE type = 'MoneyHeld'")

    assert any("seal is broken" in problem for problem in await problems(place))


async def test_removal_of_the_newest_event_is_found(place: BankPlace) -> None:
    await filled(place)

    await place.sql("DELETE FROM events WHERE position = (SELECT max(position) FROM events)")

    assert await problems(place) != []


async def test_a_changed_event_is_found_even_if_the_seals_were_removed(place: BankPlace) -> None:
    await filled(place)

    await place.sql("UPDATE events SET metadata = '{\"actor\":\"somebody else\"}' WHERE type = 'MoneyHeld'")
    await place.sql("DELETE FROM seals")

    assert await problems(place) != []


async def test_a_changed_seal_is_found(place: BankPlace) -> None:
    await filled(place)

    await place.sql('UPDATE seals SET row = replace(row, \'"hash":"\', \'"hash":"0\')')

    assert any("seal is broken" in problem for problem in await problems(place))


@pytest.mark.parametrize(
    "shown",
    [
        "balance",
        "held",
        "available",
        "total_deposits",
        "total_withdrawals",
        "transaction_count",
        "closed",
    ],
)
async def test_a_changed_balance_row_is_found(place: BankPlace, shown: str) -> None:
    account = await filled(place)
    texts = {
        "transaction_count": ('"transaction_count":', '"transaction_count":9'),
        "closed": ('"closed":false', '"closed":true'),
    }
    old, new = texts.get(shown, (f'"{shown}":{{"amount":"', f'"{shown}":{{"amount":"9'))

    await place.sql(f"UPDATE view_account_state_1 SET row = replace(row, '{old}', '{new}') WHERE id = '{account}'")

    found = await problems(place)
    assert any(account in problem for problem in found)


async def test_a_removed_balance_row_is_found(place: BankPlace) -> None:
    account = await filled(place)

    await place.sql(f"DELETE FROM view_account_state_1 WHERE id = '{account}'")

    assert any(account in problem for problem in await problems(place))


async def test_a_balance_row_of_an_invented_account_is_found(place: BankPlace) -> None:
    account = await filled(place)
    invented = AccountId.new()

    await place.sql(
        f"INSERT INTO view_account_state_1 SELECT '{invented}', replace(row, '{account}', '{invented}')"
        f" FROM view_account_state_1 WHERE id = '{account}'"
    )

    assert any(invented in problem for problem in await problems(place))


async def test_a_changed_statement_line_is_found(place: BankPlace) -> None:
    account = await filled(place)

    await place.sql(f"UPDATE view_entry_1 SET minor = minor + 1 WHERE account = '{account}' AND number = 2")

    assert await problems(place) != []


async def with_changed_snapshot(place: BankPlace) -> AccountId:
    """An account whose newest event has a snapshot, which was changed to show too large a balance."""
    async with place.open() as bank:
        account = await bank.open()
        for _ in range(99):
            await bank.ledger.deposit(account, eur("1"))
        await bank.settled()
    await place.sql(
        """UPDATE snapshots SET state = replace(state, '"balance":{"amount":"', '"balance":{"amount":"9')"""
        f" WHERE stream = 'account-{account}'"
    )
    return account


async def test_a_changed_snapshot_is_found_before_it_is_used(place: BankPlace) -> None:
    account = await with_changed_snapshot(place)

    assert any(account in problem for problem in await problems(place))


async def test_a_changed_snapshot_is_found_when_it_was_used(place: BankPlace) -> None:
    account = await with_changed_snapshot(place)
    async with place.open() as bank:
        await bank.ledger.withdraw(account, eur("500"))

    assert any(account in problem for problem in await problems(place))
