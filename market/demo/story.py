"""The demo, scene by scene."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from craton.domain.world import random_text
from market.demo.app import app
from market.demo.books import Books
from market.demo.goods import NAMES, PRICES, STOCK
from market.demo.person import Person, until
from market.demo.server import Server
from market.modules import MODULES

ADMIN = "admin@example.com"

console = Console(highlight=False, soft_wrap=True)


class Story:
    def __init__(self, server: Server, http: httpx.AsyncClient) -> None:
        self._server = server
        self._http = http

    async def tell(self) -> bool:
        """Play all scenes; return whether all checks at the end hold."""
        with console.status("the market opens"):
            await self._server.start()
            self._admin = await Person.log_in(self._server, self._http, "Admin", ADMIN, self._server.admin_password)
            for product, quantity in STOCK.items():
                price = {"amount": PRICES[product], "currency": "EUR"}
                await self._admin.post("/v1/products", id=product, name=NAMES[product], price=price)
                await self._admin.post(f"/v1/products/{product}/stock", quantity=quantity)
            ada, bob, cleo = [await self._register(name) for name in ("Ada", "Bob", "Cleo")]
        said(f"the market is open at {self._server.url}; Ada, Bob and Cleo have registered")
        await self._cooks(ada, bob)
        await self._scene("Ada buys a knife by card", ada, "product_1")
        await self._wallet(bob)
        await self._scene("Cleo's card is declined", cleo, "product_2", card="pm_card_declined")
        await self._scene("Ada orders eleven pans, and there are fewer", ada, "product_2", quantity=11)
        await self._scene(
            "the payment gateway's answer for Bob's card gets lost", bob, "product_3", card="pm_card_timeout"
        )
        await self._scene(
            "the payment gateway doesn't answer for Cleo's card", cleo, "product_3", card="pm_card_unreachable"
        )
        await self._killed(ada)
        await self._cancelled(bob)
        await self._rush([ada, bob, cleo])
        with console.status("orders, goods, money and mails are checked"):
            books = await Books.read(self._admin, self._server.mail)
            await self._server.stop()
            books.checks["craton verify finds no problem"] = await self._server.verify()
        books.show(console)
        return all(books.checks.values())

    async def _register(self, name: str) -> Person:
        email, password = f"{name.lower()}@example.com", random_text(12)
        body = {"email": email, "name": name, "password": password}
        (await self._http.post(f"{self._server.url}/v1/users", json=body)).raise_for_status()
        return await Person.log_in(self._server, self._http, name, email, password)

    async def _cooks(self, ada: Person, bob: Person) -> None:
        """What people do beside buying: they write to each other, publish recipes, and learn."""
        with console.status("Ada asks, Bob answers"):
            await ada.post("/v1/messages", body="Who has a recipe for bread?")
            await bob.post("/v1/messages", body="I have; look at the recipes.")
            messages = await ada.all("/v1/messages")
        said(f"Ada asks: {messages[1]['body']} Bob answers: {messages[0]['body']}")
        with console.status("Bob publishes a recipe"):
            recipe = await bob.post("/v1/recipes", name="Bread", description="Flour, water, salt and time.")
            flour = {"name": "Flour", "amount": {"quantity": "0.5", "unit": "kg"}, "calories": 1820}
            salt = {"name": "Salt", "amount": {"quantity": "10", "unit": "g"}, "calories": 0}
            await bob.post(f"/v1/recipes/{recipe['id']}/ingredients", ingredients=[flour, salt])
            shown = await ada.get(f"/v1/recipes/{recipe['id']}")
        said(f"Bob publishes a recipe for {shown['name'].lower()}: {shown['total_calories']} calories")
        with console.status("both want the last seat of a course"):
            course = await self._admin.post("/v1/courses", title="Bread for beginners", capacity=1)
            for person in (ada, bob):
                await person.post("/v1/participants", name=person.name)
            seats = f"/v1/courses/{course['id']}/enrolments"
            refused = [await person.refusal(seats, participant=person.name) for person in (ada, bob)]
        said(f"Ada gets the last seat of a course; Bob hears: {refused[1]}")

    async def _scene(self, what: str, person: Person, product: str, **how: Any) -> None:
        with console.status(what):
            outcome = await person.outcome(await person.order(product, **how))
        said(f"{what}: {outcome}")

    async def _wallet(self, person: Person) -> None:
        with console.status(f"{person.name} puts money into a wallet"):
            money = {"amount": "100.00", "currency": "EUR"}
            await person.post("/v2/wallet/deposit", money=money, payment_method="pm_card_visa")

            async def filled() -> str | None:
                balance = (await person.get("/v2/wallet"))["balance"]["amount"]
                return balance if balance == "100.00" else None

            await until(filled)
        await self._scene(f"{person.name} pays for a pan from the wallet", person, "product_2", pay_with="wallet")

    async def _killed(self, person: Person) -> None:
        with console.status("the server is killed in the middle of a checkout"):
            order = await person.order("product_1", card="pm_card_timeout")

            async def waits_for_money() -> bool | None:
                steps = (await person.get(f"/v1/sagas/{order}"))["steps"]
                return True if any(step["name"] == "paid" and step["status"] == "waiting" for step in steps) else None

            await until(waits_for_money)
            await self._server.kill()
        said("the server is killed while an order of Ada's waits for its payment")
        with console.status("the server starts again"):
            await self._server.start()
            outcome = await person.outcome(order)
        said(f"the server has started again, and the checkout goes on: {outcome}")
        await self._show_saga(person, order)

    async def _show_saga(self, person: Person, order: str) -> None:
        async def ended() -> Any:
            saga = await person.get(f"/v1/sagas/{order}")
            return saga if saga["ended_at"] else None

        table = Table(box=None, padding=(0, 2), title_justify="left", header_style="dim")
        for column in ("step", "status", "attempts", "ended"):
            table.add_column(column)
        for step in (await until(ended))["steps"]:
            table.add_row(step["name"], step["status"], str(step["attempts"]), (step["ended_at"] or "")[11:23])
        console.print(table)

    async def _cancelled(self, person: Person) -> None:
        with console.status("an order is cancelled after it was confirmed"):
            order = await person.order("product_1", quantity=2)
            await person.outcome(order)
            await person.post(f"/v1/orders/{order}/cancel", reason="I have a knife")

            async def given_back() -> bool | None:
                (payment,) = await person.all(f"/v2/payments?order={order}")
                return True if payment["status"] == "refunded" else None

            await until(given_back)
        said(f"{person.name} cancels an order of two knives: goods and money go back")

    async def _rush(self, people: list[Person]) -> None:
        with console.status("thirty orders for the last pans") as status:
            outcomes = Counter[str]()

            async def buy(person: Person) -> None:
                outcome = await person.outcome(await person.order("product_2"))
                outcomes["confirmed" if outcome == "Confirmed" else "cancelled"] += 1
                status.update(f"thirty orders for the last pans: {dict(outcomes)}")

            await asyncio.gather(*(buy(people[place % len(people)]) for place in range(30)))
        said(f"thirty orders for the last pans: {outcomes['confirmed']} confirmed, {outcomes['cancelled']} cancelled")


def said(sentence: str) -> None:
    console.print(f"[green]•[/green] {sentence}")


@asynccontextmanager
async def _place(store: str) -> AsyncIterator[Path]:
    """A new folder, and no schemas of an earlier demo in Postgres. Both are removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="craton-demo-") as folder:
        await _drop_schemas(store)
        yield Path(folder)
        await _drop_schemas(store)


async def _drop_schemas(store: str) -> None:
    if not store.startswith("postgres"):
        return
    import asyncpg  # noqa: PLC0415  (only Postgres needs it)

    connection = await asyncpg.connect(store)
    try:
        for module in MODULES:
            await connection.execute(f"DROP SCHEMA IF EXISTS {app.name}_{module.name} CASCADE")
    finally:
        await connection.close()


async def tell(store: str) -> bool:
    """Run the demo in a store: `sqlite`, or a `postgresql://` URL. Returns whether all checks hold."""
    async with _place(store) as folder, httpx.AsyncClient(timeout=20) as http:
        server = Server(folder, store)
        try:
            return await Story(server, http).tell()
        finally:
            await server.stop()
