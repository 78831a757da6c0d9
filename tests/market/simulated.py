"""Some time in the market: clients who act by chance, in virtual time, and a digest of all that was recorded."""

import asyncio
import hashlib
import random
import sys
from pathlib import Path
from typing import Final

import argon2

from craton.adapters.stores import stores
from craton.domain import Currency, DomainError, Money, Name, Text
from craton.domain.world import now
from craton.runtime import App
from craton.testing.simulation import simulate
from market.catalog.api import Catalog
from market.catalog.events import ProductId
from market.identity.adapters.argon2 import Argon2
from market.identity.api import Identity
from market.identity.events import EmailAddress, Password
from market.identity.ports import PasswordHasher
from market.inventory.api import Inventory
from market.ledger.api import Ledger
from market.modules import MODULES
from market.ordering.api import Item, Ordering
from market.ordering.events import OrderId, PayWith

CLIENTS: Final = 6
EUR: Final = Currency("EUR")
CARDS: Final = (Name("pm_card_visa"), Name("pm_card_chargeDeclined"))


async def act_in_the_market(seed: int, seconds: float) -> str:
    """Let clients act for so many virtual seconds; return a digest of all events of all modules, times included."""
    hasher = Argon2(argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    app = App("market", modules=MODULES, authenticate=Identity.authenticate).altered(
        adapters={PasswordHasher: hasher}, environment={}, clock=now
    )
    async with app.run(stores("memory", Path(), "market")):
        await app.begin(empty=True)
        chance = random.Random(seed)
        shop = [ProductId(f"product_{n}") for n in range(3)]
        for product in shop:
            await app.api(Catalog).add(id=product, name=Name("Knife"), description=Text(""), price=Money.of("10", EUR))
            await app.api(Inventory).restock(product, 200)
        clients = [_Client(app, shop, random.Random(chance.random())) for _ in range(CLIENTS)]
        await asyncio.gather(*(client.act(n, seconds) for n, client in enumerate(clients)))
        digest = hashlib.sha256()
        for name, running in app.running.items():
            async for event in running.source.stored():
                digest.update(repr((name, event)).encode())
        return digest.hexdigest()


class _Client:
    def __init__(self, app: App, shop: list[ProductId], chance: random.Random) -> None:
        self._app = app
        self._shop = shop
        self._chance = chance
        self._orders: list[OrderId] = []

    async def act(self, number: int, seconds: float) -> None:
        """Register, fill the wallet, and do something every few minutes until the time is over."""
        identity, ledger = self._app.api(Identity), self._app.api(Ledger)
        email = EmailAddress(f"client{number}@example.com")
        self._id = await identity.register(email=email, name=Name("Ann"), password=Password("a long password"))
        await ledger.deposit_to_wallet(Name(self._id), Money.of("100", EUR))
        loop = asyncio.get_running_loop()
        while loop.time() < seconds:
            await asyncio.sleep(self._chance.uniform(20, 400))
            acts = (self._order, self._order, self._cancel, self._ship)
            try:
                await self._chance.choice(acts)()
            except DomainError:
                continue

    async def _order(self) -> None:
        lines = (Item(product_id=self._chance.choice(self._shop), quantity=self._chance.randint(1, 3)),)
        pay_with = self._chance.choice((PayWith.CARD, PayWith.WALLET))
        card = self._chance.choice(CARDS) if pay_with is PayWith.CARD else None
        placed = await self._app.api(Ordering).place(self._id, lines, pay_with, card)
        self._orders.append(placed.order_id)

    async def _cancel(self) -> None:
        if self._orders:
            await self._app.api(Ordering).cancel(self._chance.choice(self._orders), Text("changed my mind"))

    async def _ship(self) -> None:
        if self._orders:
            await self._app.api(Ordering).ship(self._chance.choice(self._orders))


if __name__ == "__main__":
    seed, seconds = int(sys.argv[1]), float(sys.argv[2])
    sys.stdout.write(simulate(seed, lambda: act_in_the_market(seed, seconds)))
