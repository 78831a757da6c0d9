"""Demo data, with which `craton up` starts unless it is given `--empty`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from craton.application import CommandKey, Context
from craton.application.api import operation_of
from craton.domain import Currency, DomainError, Id, Money, Name, Text
from craton.domain.world import random_text
from craton.runtime import App
from craton.runtime.commands.results import Answer
from market.catalog.api import Catalog
from market.catalog.events import ProductId
from market.courses.api import Courses
from market.courses.events import CourseId
from market.identity.api import Identity
from market.identity.events import EmailAddress, Password
from market.inventory.api import Inventory
from market.ledger.api import Ledger
from market.recipes.api import Recipes
from market.recipes.events import Amount, NewIngredient

EUR = Currency("EUR")
PRODUCTS = (
    ("product_1", "Chef's knife", "Twenty centimetres of carbon steel.", "89.00", 100),
    ("product_2", "Cast-iron pan", "Gets better with the years.", "45.50", 50),
    ("product_3", "Wooden spoon", "Olive wood, oiled by hand.", "7.90", 200),
)
PEOPLE = ("Ada", "Bob", "Cleo")
RECIPES = (
    (
        "Bread",
        "Flour, water, salt and a night in the fridge.",
        (("Flour", "500", "gram", 1_820), ("Water", "0.35", "liter", 0), ("Salt", "10", "gram", 0)),
    ),
    (
        "Pancakes",
        "Thin ones, for a hot cast-iron pan.",
        (("Flour", "250", "gram", 910), ("Milk", "500", "milliliter", 320), ("Butter", "40", "gram", 300)),
    ),
)
COURSES = (("course_1", "Bread for beginners", 12), ("course_2", "Knives, sharp and safe", 8))


async def fill(app: App) -> Sequence[str]:
    """Add products, stock, courses, users and recipes; return the users' passwords. Only the first start does it."""
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
    for course, title, capacity in COURSES:
        await _once(app, course, Courses.add_course, id=CourseId(course), title=Name(title), capacity=capacity)
    people = [await _person(app, person) for person in PEOPLE]
    await _recipes(app, people[0].id)
    return [sentence for person in people for sentence in person.said]


class _Person(NamedTuple):
    id: str
    said: Sequence[str]


async def _person(app: App, name: str) -> _Person:
    email, password = EmailAddress(f"{name.lower()}@example.com"), Password(random_text(12))
    answer = await _once(app, f"user-{name}", Identity.register, email=email, name=Name(name), password=password)
    if answer is None:
        return _Person("", ())
    wallet = {"owner": Name(answer.result), "money": Money.of("100.00", EUR)}
    await _once(app, f"wallet-{name}", Ledger.deposit_to_wallet, **wallet)
    if answer.replayed:
        return _Person(answer.result, ())
    sentence = f"{name} is {email} with the password {password.reveal()} (shown only this once)."
    return _Person(answer.result, [sentence])


async def _recipes(app: App, owner: str) -> None:
    """Add the recipes of a person that aren't there yet."""
    for name, description, ingredients in RECIPES if owner else ():
        if (await app.api(Recipes).recipes(q=Text(description))).total:
            continue
        about = {"owner": Id(owner), "name": Name(name), "description": Text(description)}
        recipe = await _once(app, f"recipe-{name}", Recipes.write, **about)
        new = tuple(
            NewIngredient(name=Name(what), amount=Amount.of(quantity, unit), calories=calories)
            for what, quantity, unit, calories in ingredients
        )
        if recipe is not None:
            await _once(app, f"ingredients-{name}", Recipes.add, recipe=recipe.result, ingredients=new)


async def _once(app: App, key: str, command: Any, **arguments: Any) -> Answer | None:
    """Call a command once for all starts; return its answer, or None if the command was refused."""
    operation = operation_of(command)
    context = Context(actor="demo", key=CommandKey(f"demo-{key}"))
    try:
        return await app.call(operation, operation.bind((), arguments), context)
    except DomainError:
        return None
