"""Demo data, with which `craton up` starts unless it is given `--empty`."""

from collections.abc import Sequence
from typing import Any

from craton.application import CommandKey, Context
from craton.application.api import operation_of
from craton.domain import Currency, DomainError, Money, Name, Text
from craton.domain.world import random_text
from craton.runtime import App
from craton.runtime.commands.results import Answer
from market.catalog.api import Catalog
from market.catalog.events import ProductId
from market.identity.api import Identity
from market.identity.events import EmailAddress, Password
from market.inventory.api import Inventory
from market.ledger.api import Ledger

EUR = Currency("EUR")
PRODUCTS = (
    ("product_1", "Chef's knife", "Twenty centimetres of carbon steel.", "89.00", 100),
    ("product_2", "Cast-iron pan", "Gets better with the years.", "45.50", 50),
    ("product_3", "Wooden spoon", "Olive wood, oiled by hand.", "7.90", 200),
)
PEOPLE = ("Ada", "Bob", "Cleo")


async def fill(app: App) -> Sequence[str]:
    """Add products, stock and users; return the users' passwords. Idempotency keys let only the first start do it."""
    for id, name, description, price, quantity in PRODUCTS:
        product = ProductId(id)
        await _once(
            app,
            f"product-{id}",
            Catalog.add,
            id=product,
            name=Name(name),
            description=Text(description),
            price=Money.of(price, EUR),
        )
        await _once(app, f"stock-{id}", Inventory.restock, product=product, quantity=quantity)
    return [sentence for person in PEOPLE for sentence in await _person(app, person)]


async def _person(app: App, name: str) -> list[str]:
    email, password = EmailAddress(f"{name.lower()}@example.com"), Password(random_text(12))
    answer = await _once(app, f"user-{name}", Identity.register, email=email, name=Name(name), password=password)
    if answer is None:
        return []
    wallet = {"owner": Name(answer.result), "money": Money.of("100.00", EUR)}
    await _once(app, f"wallet-{name}", Ledger.deposit_to_wallet, **wallet)
    if answer.replayed:
        return []
    return [f"{name} is {email} with the password {password.reveal()} (shown only this once)."]


async def _once(app: App, key: str, command: Any, **arguments: Any) -> Answer | None:
    """Call a command once for all starts; return its answer, or None if the command was refused."""
    operation = operation_of(command)
    context = Context(actor="demo", key=CommandKey(f"demo-{key}"))
    try:
        return await app.call(operation, operation.bind((), arguments), context)
    except DomainError:
        return None
