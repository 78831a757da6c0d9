"""The ledger's own audit: every balance is the sum of its account's entries, and each currency adds up to zero."""

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

from craton.domain import Event, Recorded
from market.ledger.events import MoneyCredited, MoneyDebited


async def verify(events: AsyncIterator[Recorded[Event]]) -> Sequence[str]:
    """Return a sentence for each event with a wrong balance and for each currency that doesn't add up to zero."""
    balances: defaultdict[str, int] = defaultdict(int)
    totals: defaultdict[str, int] = defaultdict(int)
    problems: list[str] = []
    async for event in events:
        if not isinstance(event.data, MoneyDebited | MoneyCredited):
            continue
        money, balance = event.data.money, event.data.balance
        change = money.minor if isinstance(event.data, MoneyCredited) else -money.minor
        balances[event.subject] += change
        totals[money.currency] += change
        if balance.minor != balances[event.subject]:
            problems.append(
                f"account {event.subject}: event {event.version} says that the balance is {balance}, but the entries "
                f"up to it add up to another sum"
            )
    problems += [f"{currency}: debits and credits differ by {total}" for currency, total in totals.items() if total]
    return problems
