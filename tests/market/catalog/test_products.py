"""Products: what is sold, for how much, and who may say so."""

from typing import Any

import pytest

from craton.domain import Event, Money, Name, Text
from market.catalog.api import Catalog
from market.catalog.domain import Product
from market.catalog.events import (
    BlankName,
    CurrencyChanged,
    PriceChanged,
    PriceNotPositive,
    ProductAdded,
    ProductChanged,
    ProductId,
    ProductReinstated,
    ProductRetired,
)
from tests.http.client import Response
from tests.market.money import eur
from tests.market.shop import Person, Shop


def price(amount: Any = "89.00", currency: Any = "EUR") -> dict[str, Any]:
    return {"amount": amount, "currency": currency}


def knife() -> Product:
    return Product.add(ProductId("knife"), Name("Chef's knife"), Text("Carbon steel."), eur("89.00"))


def since(product: Product) -> tuple[Event, ...]:
    """What was recorded since the product was added."""
    return product.recorded[1:]


async def shown(shop: Shop, product: str) -> Any:
    return (await shop.nobody.get(f"/v1/products/{product}")).json


async def names(shop: Shop, query: str = "") -> list[str]:
    return [item["name"] for item in (await shop.nobody.get(f"/v1/products{query}")).json["items"]]


async def history(shop: Shop, product: str) -> list[tuple[str, str]]:
    """A product's events, by their type and what they say."""
    page = await shop.app.running["catalog"].store.read_feed(0, 1_000)
    return [(event.type, event.data) for event in page.events if event.stream == f"product-{product}"]


# --- rules ---------------------------------------------------------------------------------------------------


def test_a_product_begins_on_sale() -> None:
    product = knife()

    assert product.active
    assert product.recorded == (
        ProductAdded(name=Name("Chef's knife"), description=Text("Carbon steel."), price=eur("89.00")),
    )


@pytest.mark.parametrize("amount", ["0", "-0.01", "-89"])
def test_a_price_is_more_than_zero(amount: str) -> None:
    with pytest.raises(PriceNotPositive):
        Product.add(ProductId("knife"), Name("Knife"), Text(""), eur(amount))
    product = knife()
    with pytest.raises(PriceNotPositive):
        product.change(None, None, eur(amount))

    assert since(product) == ()


def test_the_smallest_unit_is_a_price() -> None:
    for money in (eur("0.01"), Money.of("1", "JPY"), Money.of("0.001", "KWD")):
        assert Product.add(ProductId("x"), Name("Crumb"), Text(""), money).price == money


def test_a_product_has_a_name() -> None:
    with pytest.raises(BlankName):
        Product.add(ProductId("knife"), Name("  "), Text(""), eur("1"))
    with pytest.raises(BlankName):
        knife().change(Name(""), None, None)


def test_each_change_says_what_has_changed() -> None:
    product = knife()

    product.change(Name("Knife"), None, eur("79.00"))
    product.change(None, Text("Sharp."), None)

    assert since(product) == (
        ProductChanged(name=Name("Knife"), description=Text("Carbon steel.")),
        PriceChanged(price=eur("79.00")),
        ProductChanged(name=Name("Knife"), description=Text("Sharp.")),
    )


def test_what_is_the_same_is_no_change() -> None:
    product = knife()

    product.change(Name("Chef's knife"), Text("Carbon steel."), eur("89.00"))
    product.reinstate()

    assert since(product) == ()


def test_a_price_stays_in_its_currency() -> None:
    product = knife()

    with pytest.raises(CurrencyChanged):
        product.change(Name("Knife"), None, Money.of("89", "USD"))

    assert since(product) == ()


def test_a_product_is_retired_and_reinstated_once_each() -> None:
    product = knife()

    product.retire()
    product.retire()
    retired = product.active
    product.reinstate()
    product.reinstate()

    assert (retired, product.active) == (False, True)
    assert since(product) == (ProductRetired(), ProductReinstated())


def test_a_retired_product_can_still_be_changed() -> None:
    product = knife()
    product.retire()

    product.change(None, None, eur("1"))

    assert (product.price, product.active) == (eur("1"), False)


# --- routes --------------------------------------------------------------------------------------------------


async def test_a_product_is_shown_as_it_was_added(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    admin = await shop.admin()

    added = await admin.post("/v1/products", {"name": " Chef's knife ", "description": "Steel.", "price": price()})

    assert added.status == 201
    answer = await shop.nobody.get(added.headers["location"])
    assert (answer.status, answer.headers["etag"]) == (200, '"1"')
    assert answer.json == {
        "id": added.json["id"],
        "name": "Chef's knife",
        "description": "Steel.",
        "price": price(),
        "active": True,
        "version": 1,
    }
    assert (await shop.nobody.get("/v1/products/nothing")).code == "product-not-found"
    assert (await shop.nobody.get("/v1/products/%20")).status == 422


async def test_an_id_may_be_chosen_and_is_given_once(shop: Shop) -> None:
    admin = await shop.admin()
    product = {"id": "product_1", "name": "Knife", "price": price()}

    first = await admin.post("/v1/products", product)
    second = await admin.post("/v1/products", {**product, "name": "Fork"})
    await admin.delete("/v1/products/product_1")
    third = await admin.post("/v1/products", product)

    assert (first.status, first.json) == (201, {"id": "product_1"})
    assert (second.status, second.code, third.status) == (409, "already-exists", 409)
    assert (await shown(shop, "product_1"))["name"] == "Knife"


async def test_the_same_request_again_adds_nothing(shop_sqlite: Shop) -> None:
    admin = await shop_sqlite.admin()
    key = {"Idempotency-Key": "the-knife"}

    answers = [await admin.post("/v1/products", {"name": "Knife", "price": price()}, key) for _ in range(2)]

    assert answers[0].body == answers[1].body
    assert [answer.headers.get("idempotency-replayed") for answer in answers] == [None, "true"]
    assert await names(shop_sqlite) == ["Knife"]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "free": ({"price": price("0")}, "price-not-positive"),
    "negative": ({"price": price("-1")}, "price-not-positive"),
    "a number": ({"price": price(89)}, "invalid-value"),
    "a float": ({"price": price(0.5)}, "invalid-value"),
    "a boolean": ({"price": price(True)}, "invalid-value"),
    "no money": ({"price": 89}, "invalid-value"),
    "not a number": ({"price": price("NaN")}, "invalid-value"),
    "infinite": ({"price": price("Infinity")}, "invalid-value"),
    "too many decimals": ({"price": price("1.001")}, "invalid-value"),
    "yen have none": ({"price": price("1.5", "JPY")}, "invalid-value"),
    "no currency": ({"price": price("1", "XXX")}, "invalid-value"),
    "beyond bounds": ({"price": price("9" * 17)}, "invalid-value"),
    "blank": ({"name": "   "}, "blank-name"),
    "long": ({"name": "x" * 201}, "invalid-value"),
    "wordy": ({"description": "x" * 5_001}, "invalid-value"),
    "no id": ({"id": "../etc"}, "invalid-value"),
    "empty id": ({"id": ""}, "invalid-value"),
    "unknown field": ({"active": False}, "invalid-value"),
}


async def test_what_breaks_a_rule_is_refused_with_the_field_that_does(shop_sqlite: Shop) -> None:
    admin = await shop_sqlite.admin()

    for what, (wrong, code) in BAD.items():
        refused = await admin.post("/v1/products", {"name": "Knife", "price": price(), **wrong})
        assert (what, refused.status, refused.code) == (what, 422, code)
        if code == "invalid-value":
            assert refused.json["path"].startswith("$"), what
    for missing in ({"name": "Knife"}, {"price": price()}, {}):
        assert (await admin.post("/v1/products", missing)).status == 422

    assert (await shop_sqlite.nobody.get("/v1/products")).json == {
        "items": [],
        "total": 0,
        "page": 1,
        "page_size": 20,
        "total_pages": 0,
    }


async def test_what_is_given_is_changed_and_the_rest_stays(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    admin, product = await shop.admin(), await shop.add_product("89.00", name="Knife")

    renamed = await admin.put(f"/v1/products/{product}", {"name": "Chef's knife", "description": "Steel."})
    repriced = await admin.put(f"/v1/products/{product}", {"price": price("79.00")})
    nothing = await admin.put(f"/v1/products/{product}", {})

    assert [answer.status for answer in (renamed, repriced, nothing)] == [204] * 3
    assert await shown(shop, product) == {
        "id": product,
        "name": "Chef's knife",
        "description": "Steel.",
        "price": price("79.00"),
        "active": True,
        "version": 3,
    }
    assert await history(shop, product) == [
        ("ProductAdded", '{"name":"Knife","description":"","price":{"amount":"89.00","currency":"EUR"}}'),
        ("ProductChanged", '{"name":"Chef\'s knife","description":"Steel."}'),
        ("PriceChanged", '{"price":{"amount":"79.00","currency":"EUR"}}'),
    ]


async def test_a_change_that_breaks_a_rule_changes_nothing(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    admin, product = await shop.admin(), await shop.add_product("89.00", name="Knife")
    before = await shown(shop, product)

    async def refused(change: dict[str, Any], headers: dict[str, str] | None = None) -> tuple[int, str]:
        answer = await admin.put(f"/v1/products/{product}", {"description": "New.", **change}, headers)
        return answer.status, answer.code

    assert await refused({"price": price("89", "USD")}) == (409, "currency-changed")
    assert await refused({"price": price("0.00")}) == (422, "price-not-positive")
    assert await refused({"name": " "}) == (422, "blank-name")
    assert await refused({"id": "other"}) == (422, "invalid-value")
    assert await refused({"active": "no"}) == (422, "invalid-value")
    assert await refused({}, {"If-Match": '"7"'}) == (412, "stale-version")
    assert (await admin.put("/v1/products/nothing", {"name": "x"})).code == "product-not-found"
    assert await shown(shop, product) == before


async def test_a_product_is_retired_and_comes_back(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    admin, product = await shop.admin(), await shop.add_product(name="Knife")
    other = await shop.add_product(name="Fork")

    retired = [await admin.delete(f"/v1/products/{product}") for _ in range(2)]

    assert [answer.status for answer in retired] == [204, 204]
    assert (await shown(shop, product))["active"] is False
    assert await names(shop, "?active=true") == ["Fork"]
    assert await names(shop, "?active=false") == ["Knife"]
    assert sorted(await names(shop)) == ["Fork", "Knife"]
    assert (await admin.put(f"/v1/products/{other}", {"active": False})).status == 204
    assert (await admin.put(f"/v1/products/{product}", {"active": True})).status == 204
    assert await names(shop, "?active=true") == ["Knife"]
    assert [kind for kind, _ in await history(shop, product)] == ["ProductAdded", "ProductRetired", "ProductReinstated"]
    assert (await admin.delete("/v1/products/nothing")).status == 404


async def test_products_are_found_by_name_and_description_newest_first(shop: Shop) -> None:
    admin = await shop.admin()
    for name, description in (
        ("Chef's knife", "Carbon steel."),
        ("Cast-iron pan", "For STEEL and gas hobs."),
        ("Bread knife", "100% serrated_"),
        ("Käsemesser", "Für Käse."),
    ):
        body = {"name": name, "description": description, "price": price()}
        assert (await admin.post("/v1/products", body)).status == 201

    assert await names(shop, "?q=knife") == ["Bread knife", "Chef's knife"]
    assert await names(shop, "?q=KNIFE") == ["Bread knife", "Chef's knife"]
    assert await names(shop, "?q=steel") == ["Cast-iron pan", "Chef's knife"]
    assert await names(shop, "?q=k%C3%A4se") == ["Käsemesser"]
    assert await names(shop, "?q=%25") == ["Bread knife"]  # a percent sign and nothing else
    assert await names(shop, "?q=d_") == ["Bread knife"]
    assert await names(shop, "?q=nothing") == []
    assert len(await names(shop, "?q=")) == 4
    assert await names(shop, "?page_size=1&page=2") == ["Bread knife"]


async def test_a_changed_product_is_found_by_what_it_is_called_now(shop_sqlite: Shop) -> None:
    admin, product = await shop_sqlite.admin(), await shop_sqlite.add_product(name="Knife")

    await admin.put(f"/v1/products/{product}", {"name": "Sword"})

    assert (await names(shop_sqlite, "?q=knife"), await names(shop_sqlite, "?q=sword")) == ([], ["Sword"])


async def test_everybody_may_look_and_only_administrators_may_change(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    product, ada = await shop.add_product(name="Knife"), await shop.register("Ada")
    stranger = Person(shop, tokens={"access_token": "no.such.token"})

    async def attempts(who: Person) -> list[Response]:
        return [
            await who.post("/v1/products", {"name": "Fork", "price": price()}),
            await who.put(f"/v1/products/{product}", {"price": price("0.01")}),
            await who.delete(f"/v1/products/{product}"),
        ]

    for reader in (shop.nobody, ada, await shop.admin()):
        assert (await reader.get(f"/v1/products/{product}")).status == 200
        assert (await reader.get("/v1/products")).status == 200
    assert [answer.status for answer in await attempts(shop.nobody)] == [401] * 3
    assert [answer.status for answer in await attempts(stranger)] == [401] * 3
    assert [answer.status for answer in await attempts(ada)] == [403] * 3
    assert await names(shop) == ["Knife"]


async def test_others_are_offered_only_what_is_on_sale(shop_sqlite: Shop) -> None:
    shop = shop_sqlite
    knife, fork = await shop.add_product(name="Knife"), await shop.add_product(name="Fork")
    await (await shop.admin()).delete(f"/v1/products/{fork}")

    offers = await shop.api(Catalog).offers((ProductId(knife), ProductId(fork), ProductId("nothing")))

    assert [offer.name for offer in offers] == ["Knife"]
