"""Recipes: their ingredients come and go through them, and their calories are always the sum."""

import asyncio
from typing import Any

import pytest

from tests.http.client import Response
from tests.market.shop import Person, Shop

BREAD = {"name": "Bread", "description": "Flour, water, salt and time."}


def ingredient(name: str = "Flour", calories: Any = 100, quantity: Any = "500", unit: Any = "g") -> dict[str, Any]:
    return {"name": name, "amount": {"quantity": quantity, "unit": unit}, "calories": calories}


async def written(owner: Person) -> str:
    """The path of a new recipe."""
    answer = await owner.post("/v1/recipes", BREAD)
    assert answer.status == 201, answer.body
    return answer.headers["location"]


async def added(owner: Person, recipe: str, *ingredients: dict[str, Any]) -> Response:
    return await owner.post(f"{recipe}/ingredients", {"ingredients": list(ingredients)})


async def test_a_recipe_begins_empty_and_everybody_reads_it(shop: Shop) -> None:
    ada = await shop.register("Ada")

    answer = await ada.post("/v1/recipes", BREAD)

    shown = await shop.nobody.get(answer.headers["location"])
    assert (answer.status, shown.status) == (201, 200)
    assert shown.json == {
        "id": answer.json["id"],
        "owner": ada.id,
        **BREAD,
        "ingredients": [],
        "total_calories": 0,
        "version": 1,
    }
    assert (await shop.nobody.post("/v1/recipes", BREAD)).status == 401
    missing = await shop.nobody.get("/v1/recipes/0195e0c0-0000-7000-8000-000000000000")
    assert (missing.status, missing.code) == (404, "recipe-not-found")


async def test_ingredients_are_added_one_or_many_at_a_time_and_removed_again(shop: Shop) -> None:
    ada = await shop.register("Ada")
    recipe = await written(ada)

    one = await ada.post(f"{recipe}/ingredients", {"ingredients": ingredient("Flour", 1820, "0.5", "Kilo")})
    many = await added(ada, recipe, ingredient("Water", 0, 325, "ml"), ingredient("Salt", 0, "10.5", "grams"))

    assert (one.status, len(one.json), many.status, len(many.json)) == (201, 1, 201, 2)
    shown = (await ada.get(recipe)).json
    assert [(item["name"], item["amount"]) for item in shown["ingredients"]] == [
        ("Flour", {"quantity": "0.5", "unit": "kilogram"}),
        ("Water", {"quantity": "325", "unit": "milliliter"}),
        ("Salt", {"quantity": "10.5", "unit": "gram"}),
    ]
    assert [item["id"] for item in shown["ingredients"]] == [*one.json, *many.json]
    assert shown["total_calories"] == 1820
    gone = f"{recipe}/ingredients/{one.json[0]}"
    assert [(await ada.delete(gone)).status for _ in range(2)] == [204, 404]
    shown = (await ada.get(recipe)).json
    assert [item["name"] for item in shown["ingredients"]] == ["Water", "Salt"]
    assert shown["total_calories"] == 0


async def test_of_many_ingredients_all_are_added_or_none(shop_sqlite: Shop) -> None:
    ada = await shop_sqlite.register("Ada")
    recipe = await written(ada)

    refused = await added(ada, recipe, ingredient("Flour"), ingredient("Salt", calories=-1))

    assert (refused.status, refused.json["path"]) == (422, "$.ingredients[1]")
    assert (await ada.get(recipe)).json["ingredients"] == []


WRONG: dict[str, dict[str, Any]] = {
    "blank": ingredient(" "),
    "no calories": {key: value for key, value in ingredient().items() if key != "calories"},
    "a fraction of a calorie": ingredient(calories=1.5),
    "true calories": ingredient(calories=True),
    "negative": ingredient(quantity=-1),
    "nothing": ingredient(quantity=0),
    "not a number": ingredient(quantity="NaN"),
    "infinite": ingredient(quantity="Infinity"),
    "an unknown unit": ingredient(unit="cup"),
    "no unit": ingredient(unit=None),
    "an id": ingredient() | {"id": "1"},
}


async def test_a_wrong_ingredient_is_refused_with_the_place_of_the_mistake(shop_sqlite: Shop) -> None:
    ada = await shop_sqlite.register("Ada")
    recipe = await written(ada)

    for what, wrong in WRONG.items():
        for body in (wrong, [wrong]):
            refused = await ada.post(f"{recipe}/ingredients", {"ingredients": body})
            assert (what, refused.status, refused.code) == (what, 422, "invalid-value")
            assert refused.json["path"].startswith("$.ingredients"), what
    raw = b'{"ingredients": {"name": "Flour", "amount": {"quantity": NaN, "unit": "g"}, "calories": 1}}'
    assert (await ada.post(f"{recipe}/ingredients", raw)).status == 400
    empty = await added(ada, recipe)
    assert (empty.status, empty.code) == (422, "nothing-to-add")

    assert (await ada.get(recipe)).json["version"] == 1


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"name": "  "}, "blank-name"),
        ({"name": "x" * 201}, "invalid-value"),
        ({"description": "Too short"}, "description-too-short"),
        ({"description": "x" * 5_001}, "invalid-value"),
        ({"total_calories": 5}, "invalid-value"),
        ({"owner": "0195e0c0-0000-7000-8000-000000000000"}, "invalid-value"),
    ],
)
async def test_a_recipe_has_a_name_and_a_description(shop_sqlite: Shop, wrong: dict[str, Any], code: str) -> None:
    ada = await shop_sqlite.register("Ada")

    refused = await ada.post("/v1/recipes", BREAD | wrong)

    assert (refused.status, refused.code) == (422, code)


async def test_only_its_owner_edits_a_recipe(shop: Shop) -> None:
    ada, bob, admin = await shop.register("Ada"), await shop.register("Bob"), await shop.admin()
    recipe = await written(ada)
    (flour,) = (await added(ada, recipe, ingredient())).json

    for other, status in ((bob, 403), (admin, 403), (shop.nobody, 401)):
        assert (await added(other, recipe, ingredient("Poison"))).status == status
        assert (await other.delete(f"{recipe}/ingredients/{flour}")).status == status

    assert [item["name"] for item in (await ada.get(recipe)).json["ingredients"]] == ["Flour"]


async def test_fifty_ingredients_added_at_once_are_all_there_and_add_up(shop: Shop) -> None:
    ada = await shop.register("Ada")
    recipe = await written(ada)

    answers = await asyncio.gather(*(added(ada, recipe, ingredient(f"No. {n}", calories=n)) for n in range(50)))

    assert [answer.status for answer in answers] == [201] * 50
    shown = (await ada.get(recipe)).json
    assert sorted(item["calories"] for item in shown["ingredients"]) == list(range(50))
    assert shown["total_calories"] == sum(range(50))
    assert shown["version"] == 51


async def test_a_recipe_has_two_hundred_ingredients_at_most(shop_sqlite: Shop) -> None:
    ada = await shop_sqlite.register("Ada")
    recipe = await written(ada)
    await added(ada, recipe, *[ingredient()] * 199)

    full = await added(ada, recipe, ingredient(), ingredient())

    assert (full.status, full.code) == (409, "too-many-ingredients")
    assert (await added(ada, recipe, ingredient())).status == 201


async def test_recipes_are_found_by_a_part_of_their_name_or_description(shop: Shop) -> None:
    ada = await shop.register("Ada")
    for name, description in (("Bread", "Flour and time, baked."), ("Crème brûlée", "Cream, burnt on top.")):
        await ada.post("/v1/recipes", {"name": name, "description": description})

    async def names(query: str) -> list[str]:
        return [item["name"] for item in (await shop.nobody.get(f"/v1/recipes{query}")).json["items"]]

    assert await names("") == ["Crème brûlée", "Bread"]
    assert await names("?q=CR%C3%88ME") == ["Crème brûlée"]
    assert await names("?q=flour") == ["Bread"]
    assert await names("?q=beer") == []
