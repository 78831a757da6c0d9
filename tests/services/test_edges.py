"""Each edge between the market's three services is cut in each direction under load: orders wait, and none is lost."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import permutations
from pathlib import Path
from typing import Any, Final

from craton.adapters.http import listen_at, serving_beside
from craton.adapters.services import Hosting, Peers
from craton.adapters.services.identity import naming
from craton.adapters.stores import stores
from craton.runtime import App
from craton.runtime.topology import Address, Topology
from craton.testing.faults import Direction, Line
from craton.testing.http import HttpClient
from craton.testing.services import Services
from craton.testing.settled import settled
from craton.testing.until import until
from market.app import app as market
from tests.market.conftest import QUICK_ADAPTERS

CUT_SECONDS: Final = float(os.environ.get("CRATON_CUT_SECONDS", "1"))
ORDERS: Final = 6
SERVICES: Final = {
    "shop": ("catalog", "inventory", "ordering", "shipping"),
    "money": ("payments", "ledger"),
    "people": ("identity", "messaging", "recipes", "courses", "notifications", "analytics"),
}
PASSWORD: Final = "correct horse battery"  # noqa: S105 — of nobody


class Lines:
    """The services, and the line from each to each other."""

    def __init__(self, services: Services, between: dict[tuple[str, str], Line]) -> None:
        self.services = services
        self.between = between


@asynccontextmanager
async def connected(app: App, folder: Path) -> AsyncIterator[Lines]:
    """Run the market as three services in this process, with a line from each to each other."""
    topology = Topology.of(SERVICES).placed(app.wiring.modules)
    hosting = Hosting(app, topology, folder, environment=app.environment)
    service_of = {module: name for name, modules in SERVICES.items() for module in modules}
    async with AsyncExitStack() as stack:
        listening = {name: stack.enter_context(listen_at(folder / f"{name}.calls")) for name in SERVICES}
        between = {
            (one, other): stack.enter_context(Line(folder / f"{other}.calls", at=folder / f"{one}-{other}"))
            for one, other in permutations(SERVICES, 2)
        }
        parts = {}
        for name in SERVICES:
            places = {other: [Address(f"unix://{folder / f'{name}-{other}'}")] for other in SERVICES}
            peers = Peers(name, places, service_of, naming(name))
            stack.push_async_callback(peers.close)
            parts[name] = hosting.part(topology.service(name), peers)
        opened = stores("sqlite", folder, app.name)
        for name, part in parts.items():
            await stack.enter_async_context(part.run(opened))
            server = hosting.server(part, topology.service(name))
            await stack.enter_async_context(serving_beside(server, listening[name]))
            stack.callback(server.stop)
            await part.begin(empty=True)
        running = {name: module for part in parts.values() for name, module in part.running.items()}
        yield Lines(Services(app.together(running), parts), between)


async def test_each_edge_is_cut_in_each_direction_under_load(folder: Path) -> None:
    environment = {
        "CRATON_IDENTITY_ADMIN_PASSWORD": PASSWORD,
        "CRATON_NOTIFICATIONS_FOLDER": str(folder / "mails"),
        "CRATON_NOTIFICATIONS_LETTERS_A_DAY": "1000",
    }
    app = market.altered(adapters=QUICK_ADAPTERS, environment=environment)
    async with connected(app, folder) as lines:
        client = await opened(lines.services)
        placed: list[str] = []
        for edge, line in lines.between.items():
            for direction in ("up", "down"):
                placed += await orders_while_cut(client, line, direction, f"{edge}-{direction}")
        await settled(lines.services.app)

        for order in placed:
            assert (await client.get(f"/v1/orders/{order}")).json["status"] == "confirmed"
        payments = (await client.get("/v2/payments?page_size=100")).json
        assert payments["total"] == len(placed) == len(set(placed))
        assert {payment["status"] for payment in payments["items"]} == {"succeeded"}
        for name, module in lines.services.app.running.items():
            assert [problem async for problem in module.verify()] == [], name


async def opened(services: Services) -> HttpClient:
    """The administrator's client, with something to buy."""
    client = HttpClient(services.front)
    login = await client.post("/v1/login", {"email": "admin@example.com", "password": PASSWORD})
    client = client.with_token(login.json["access_token"])
    price = {"amount": "1.50", "currency": "EUR"}
    assert (await client.post("/v1/products", {"id": "apple", "name": "Apple", "price": price})).status == 201
    assert (await client.post("/v1/products/apple/stock", {"quantity": 10_000})).status < 300
    await settled(services.app)
    return client


async def orders_while_cut(client: HttpClient, line: Line, direction: Direction, name: str) -> list[str]:
    """Place orders while a line is cut in one direction, heal it, and repeat what had no answer."""
    line.half_open(direction)
    healing = asyncio.get_running_loop().call_later(CUT_SECONDS, line.heal)
    orders = asyncio.gather(*(order(client, f"{name}-{number}") for number in range(ORDERS)))
    try:
        await asyncio.sleep(CUT_SECONDS)
        return await orders
    finally:
        healing.cancel()
        line.heal()


async def order(client: HttpClient, key: str) -> str:
    body = {"lines": [{"product_id": "apple", "quantity": 1}], "pay_with": "card", "payment_method": "pm_card_visa"}
    answered: list[Any] = []

    async def is_placed() -> bool:
        reply = await client.post("/v1/orders", body, {"idempotency-key": key})
        answered.append(reply)
        assert reply.status in (202, 503, 504), reply.body
        return reply.status == 202

    await until(is_placed)
    return str(answered[-1].json["order_id"])
