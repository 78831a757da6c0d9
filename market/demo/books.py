"""The books at the end of the day: whether orders, goods, money and mails fit together."""

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.table import Table

from market.demo.goods import NAMES, STOCK
from market.demo.person import Person, until

USERS = 4  # the administrator and three buyers


class Books:
    """All orders, payments and stock after everything has ended, and the checks of them."""

    def __init__(self, orders: list[Any], payments: list[Any], stock: dict[str, Any], trial: Any) -> None:
        self._orders = orders
        self._payments = payments
        self._stock = stock
        self._trial = trial
        self._mails = 0
        self.checks: dict[str, bool] = {}

    @classmethod
    async def read(cls, admin: Person, mail: Path) -> Self:
        """Wait until everything has ended, and read the results."""

        async def settled() -> bool | None:
            sagas = await admin.all("/v1/sagas")
            return None if any(saga["status"] in ("running", "compensating") for saga in sagas) else True

        await until(settled)
        books = cls(
            await admin.all("/v1/orders"),
            await admin.all("/v2/payments"),
            {product: await admin.get(f"/v1/products/{product}/stock") for product in STOCK},
            await admin.get("/v1/trial-balance"),
        )
        letters = books._letters()

        async def posted() -> bool | None:
            return True if _mails_in(mail) >= letters else None

        await until(posted)
        books._mails = _mails_in(mail)
        books._check()
        books.checks["no process is stuck"] = not await admin.all("/v1/sagas?status=stuck")
        return books

    def _check(self) -> None:
        bought = [order for order in self._orders if order["status"] == "confirmed"]
        sold = Counter[str]()
        for order in bought:
            for line in order["lines"]:
                sold[line["product_id"]] += line["quantity"]
        revenue = sum(Decimal(order["total"]["amount"]) for order in bought)
        self.checks |= {
            "no order is pending": all(order["status"] in ("confirmed", "cancelled") for order in self._orders),
            "nothing is reserved": all(item["reserved"] == 0 for item in self._stock.values()),
            "sold goods were taken out of stock": all(
                STOCK[product] - sold[product] == item["on_hand"] for product, item in self._stock.items()
            ),
            "the payments add up to the orders": revenue == self._taken(),
            "each event has one mail": self._mails == self._letters(),
            "debits and credits are equal": all(
                Decimal(line["difference"]["amount"]) == 0 for line in self._trial["lines"]
            ),
        }

    def _letters(self) -> int:
        """How many mails there must be: one for each user, order, cancellation and refund."""
        cancelled = sum(order["status"] == "cancelled" for order in self._orders)
        refunds = sum(payment["status"] == "refunded" for payment in self._payments)
        return USERS + len(self._orders) + int(cancelled + refunds)

    def _taken(self) -> Decimal:
        """The sum of all payments for orders, less refunds."""
        kept = [found for found in self._payments if found["purpose"] == "order" and found["status"] != "failed"]
        return sum((Decimal(it["amount"]["amount"]) - Decimal(it["refunded"]["amount"]) for it in kept), Decimal(0))

    def show(self, console: Console) -> None:
        table = Table(title="The day in numbers", title_justify="left", box=None, show_header=False, padding=(0, 2))
        for status, count in sorted(Counter(order["status"] for order in self._orders).items()):
            table.add_row(f"orders {status}", str(count))
        for product, item in self._stock.items():
            table.add_row(f"{NAMES[product]} on hand", str(item["on_hand"]))
        table.add_row("money taken", f"{self._taken()} EUR")
        table.add_row("mails", str(self._mails))
        for check, holds in self.checks.items():
            table.add_row(check, "[green]yes[/green]" if holds else "[bold red]NO[/bold red]")
        console.print(table)


def _mails_in(folder: Path) -> int:
    return len(list(folder.glob("*.eml")))
