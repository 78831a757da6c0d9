"""Demo data: what `craton up` starts with unless it is told to be empty."""

from typing import Any

from craton.application import Context
from craton.domain import Currency, Money, Name
from craton.runtime import App
from market.ledger.api import Ledger

OWNERS = ("Ann", "Bob")
EUR = Currency("EUR")


async def fill(app: App) -> None:
    """Open an account for each owner, with 100 EUR in it. Keys make every later start find it done."""
    for owner in OWNERS:
        account = await _once(app, f"account-{owner}", "open_account", owner=Name(owner), currency=EUR)
        await _once(app, f"money-{owner}", "deposit", account=account, money=Money.of("100.00", EUR))


async def _once(app: App, key: str, operation: str, **arguments: Any) -> Any:
    context = Context(actor="demo", key=f"demo-{key}")
    return (await app.call(Ledger.operations[operation], arguments, context)).result
