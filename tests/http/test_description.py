"""The OpenAPI document: all that a client's author, or his tools, need to know."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.requests import Request
from starlette.responses import Response

from craton.adapters.http import asgi
from craton.adapters.stores import stores
from craton.application import Api, Module, Page, Paging, Routes, command, get, post, public, query
from craton.application.api import OperationDefinition
from craton.domain import Money, Value
from craton.runtime import App
from market.app import app as market
from market.ledger.http import routes
from tests.http.client import Client


async def description(client: Client) -> Any:
    return (await client.get("/openapi.json")).json


def resolved(document: Any, part: Any) -> Any:
    while "$ref" in part:
        _, kind, name = part["$ref"].removeprefix("#/").split("/")
        part = document["components"][kind][name]
    return part


@pytest.fixture(scope="module")
def of_the_market(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return asyncio.run(described(market, tmp_path_factory.mktemp("market")))


async def described(app: App, folder: Path) -> Any:
    async with app.run(stores("sqlite", folder, app.name), subscriptions=False):
        answered: list[Any] = []

        async def send(message: Any) -> None:
            answered.append(message)

        scope = {"type": "http", "method": "GET", "path": "/openapi.json", "headers": [], "query_string": b""}
        await asgi(app)(scope, None, send)  # type: ignore[arg-type]
        document = json.loads(answered[1]["body"])
        OpenAPIV31SpecValidator(document).validate()
        return document


def operations(document: Any) -> Iterator[Any]:
    for path in document["paths"].values():
        yield from path.values()


async def test_the_description_is_valid_openapi_3_1(client: Client) -> None:
    document = await description(client)

    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


async def test_every_route_is_described(client: Client) -> None:
    document = await description(client)

    for route in routes:
        entry = document["paths"][route.path][route.method.lower()]
        assert entry["summary"], route.path
        assert str(route.status) in entry["responses"], route.path


async def test_every_parameter_of_a_route_is_described(client: Client) -> None:
    document = await description(client)

    for route in routes:
        entry = document["paths"][route.path][route.method.lower()]
        assert isinstance(route.handler, OperationDefinition)
        described = {resolved(document, parameter)["name"] for parameter in entry["parameters"]}
        if "requestBody" in entry:
            described |= resolved(document, entry["requestBody"]["content"]["application/json"]["schema"])[
                "properties"
            ].keys()
        wanted = {name.rstrip("_") for name in route.handler.parameters} - {"paging", route.caller}
        assert wanted <= described, route.path
        assert route.caller not in described, route.path  # that comes from the token, and from nowhere else
        assert "paging" not in route.handler.parameters or {"page", "page_size"} <= described, route.path


async def test_every_problem_that_is_answered_is_described(client: Client) -> None:
    document = await description(client)

    for entry in (operation for path in document["paths"].values() for operation in path.values()):
        for status, answer in entry["responses"].items():
            if int(status) >= 400:
                assert "application/problem+json" in resolved(document, answer)["content"]


async def test_every_operation_has_an_id_of_its_own(client: Client) -> None:
    document = await description(client)

    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))


async def test_the_admin_routes_are_described(client: Client) -> None:
    assert "/v1/admin/projections/{name}/rebuild" in (await description(client))["paths"]


class TestTheMarketsDocument:
    def test_says_of_each_operation_whether_it_needs_a_token(self, of_the_market: Any) -> None:
        paths = of_the_market["paths"]

        assert paths["/v1/login"]["post"]["security"] == []
        assert paths["/v1/orders"]["post"]["security"] == [{"token": []}]
        assert all("security" in operation for operation in operations(of_the_market))

    def test_describes_each_operation_and_each_tag(self, of_the_market: Any) -> None:
        tags = {tag["name"]: tag["description"] for tag in of_the_market["tags"]}

        for operation in operations(of_the_market):
            assert operation["summary"]
            assert operation["description"]
            assert tags[operation["tags"][0]]

    def test_says_which_callers_are_admitted(self, of_the_market: Any) -> None:
        paths = of_the_market["paths"]

        assert paths["/v1/products"]["post"]["description"].endswith("Only for the role admin.")
        assert paths["/v1/users/{user}"]["put"]["description"].endswith(
            "Only for the caller that `user` names, or the role admin."
        )
        assert paths["/v1/orders"]["post"]["description"].endswith("It needs a token.")
        assert paths["/v1/login"]["post"]["description"].endswith("It needs no token.")

    def test_has_each_type_once(self, of_the_market: Any) -> None:
        schemas = of_the_market["components"]["schemas"]

        assert schemas["Product"]["properties"]["price"] == {"$ref": "#/components/schemas/Money"}
        assert str(of_the_market).count("'required': ['amount', 'currency']") == 2  # Money, and Total
        assert {"OrderingPlaceBody", "PageOfOrder"} <= schemas.keys()

    def test_has_names_that_can_be_the_names_of_classes(self, of_the_market: Any) -> None:
        for kind in of_the_market["components"].values():
            assert all(re.fullmatch("[A-Za-z][A-Za-z0-9]*", name) for name in kind)

    def test_tells_balances_from_totals_which_have_no_bound(self, of_the_market: Any) -> None:
        schemas = of_the_market["components"]["schemas"]
        amount, total = (schemas[name]["properties"]["amount"]["pattern"] for name in ("Money", "Total"))

        for text, bounded, unbounded in [("1.00", True, True), ("9" * 17 + ".00", False, True), ("x", False, False)]:
            assert (bool(re.search(amount, text)), bool(re.search(total, text))) == (bounded, unbounded)
        assert schemas["AccountState"]["properties"]["total_deposits"] == {"$ref": "#/components/schemas/Total"}

    def test_gives_enums_a_type(self, of_the_market: Any) -> None:
        def enums(part: Any) -> Iterator[Any]:
            if isinstance(part, dict):
                if "enum" in part:
                    yield part
                part = list(part.values())
            if isinstance(part, list):
                for inner in part:
                    yield from enums(inner)

        found = list(enums(of_the_market))
        assert len(found) > 5
        assert all(enum["type"] == "string" for enum in found)

    def test_describes_the_headers_of_answers(self, of_the_market: Any) -> None:
        place = of_the_market["paths"]["/v1/orders"]["post"]["responses"]
        read = of_the_market["paths"]["/v1/orders/{order}"]["get"]["responses"]

        told = {"Craton-Request-Id", "Craton-Position", "Idempotency-Replayed", "Location"}
        assert place["202"]["headers"].keys() == told
        assert read["200"]["headers"].keys() == {"Craton-Request-Id", "ETag"}
        assert "304" in read
        assert "Retry-After" in resolved(of_the_market, place["503"])["headers"]

    def test_does_not_require_fields_that_have_a_default(self, of_the_market: Any) -> None:
        schemas = of_the_market["components"]["schemas"]

        assert schemas["LedgerTransferBatchBody"]["required"] == ["transfers"]
        assert "default" not in str(schemas["LedgerTransferBatchBody"])
        assert "true" in schemas["LedgerTransferBatchBody"]["properties"]["atomic"]["description"]
        assert not any(parameter.get("required") for parameter in self.query(of_the_market, "/v1/products"))

    def test_requires_fields_that_are_always_in_an_answer(self, of_the_market: Any) -> None:
        schemas = of_the_market["components"]["schemas"]

        assert set(schemas["Order"]["required"]) == schemas["Order"]["properties"].keys()
        assert set(schemas["TransferResult"]["required"]) == schemas["TransferResult"]["properties"].keys()
        assert set(schemas["User"]["required"]) == {"id", "name"}  # the rest isn't for everybody
        assert "null" not in str(schemas["User"])

    def query(self, document: Any, path: str) -> list[Any]:
        parameters = (resolved(document, parameter) for parameter in document["paths"][path]["get"]["parameters"])
        return [parameter for parameter in parameters if parameter["in"] == "query"]


class Item(Value):
    name: str


class Shop(Api):
    @command
    async def sell(self, item: Item, price: Money, note: str | None = None) -> Item:
        """Sell something.

        It is gone then.
        """

    @query
    async def items(self, *, q: str = "all", paging: Paging = Paging()) -> Page[Item]:
        """What there is."""


class ShopService(Shop):
    async def sell(self, item: Item, price: Money, note: str | None = None) -> Item:
        return item

    async def items(self, *, q: str = "all", paging: Paging = Paging()) -> Page[Item]:
        return Page.of([], 0, paging)


async def by_hand(_: Request) -> Response:
    return Response()


def other_shop() -> Module:
    """A module that has a type called like one of the other's."""

    class Item(Value):
        weight: int

    class Store(Api):
        @query
        async def item(self, number: int) -> Item:
            """One item."""

    class StoreService(Store):
        async def item(self, number: int) -> Item:
            return Item(weight=number)

    return Module(
        "store", api=Store, service=StoreService, routes=Routes(get("/store/{number}", Store.item, access=public))
    )


class TestAnApplication:
    @pytest.fixture
    async def document(self, tmp_path: Path) -> Any:
        table = Routes(
            post("/sales", Shop.sell, access=public),
            post("/sales/{note}", Shop.sell, access=public),
            get("/items", Shop.items, access=public),
            get("/by-hand/{part}/{other}", by_hand, access=public),
        )
        shop = Module("shop", api=Shop, service=ShopService, routes=table)
        return await described(App("two shops", modules=[shop, other_shop()]), tmp_path)

    def test_without_callers_asks_for_no_token(self, document: Any) -> None:
        assert "securitySchemes" not in document["components"]
        assert all(operation["security"] == [] for operation in operations(document))

    def test_may_have_two_routes_for_one_operation(self, document: Any) -> None:
        names = [operation["operationId"] for operation in operations(document)]

        assert {"shop.sell", "shop.sell_2"} <= set(names)
        assert len(set(names)) == len(names)
        bodies = [document["paths"][path]["post"]["requestBody"]["content"] for path in ("/sales", "/sales/{note}")]
        assert [body["application/json"]["schema"]["$ref"].rpartition("/")[2] for body in bodies] == [
            "ShopSellBody",
            "ShopSell2Body",
        ]

    def test_may_have_types_of_one_name_in_two_modules(self, document: Any) -> None:
        kinds = {name: schema["properties"].keys() for name, schema in document["components"]["schemas"].items()}

        assert sorted(tuple(fields) for name, fields in kinds.items() if name.endswith("Item")) == [
            ("items", "total", "page", "page_size", "total_pages"),
            ("name",),
            ("weight",),
        ]

    def test_names_the_parameters_of_a_route_that_is_written_by_hand(self, document: Any) -> None:
        entry = document["paths"]["/by-hand/{part}/{other}"]["get"]

        assert [parameter["name"] for parameter in entry["parameters"]] == ["part", "other"]
        assert "requestBody" not in entry

    def test_contains_the_docstring_of_a_handler(self, document: Any) -> None:
        entry = document["paths"]["/sales"]["post"]

        assert (entry["summary"], entry["description"]) == ("Sell something.", "It is gone then. It needs no token.")

    def test_shows_the_default_of_a_query_parameter(self, document: Any) -> None:
        (q,) = [p for p in document["paths"]["/items"]["get"]["parameters"] if p.get("name") == "q"]

        assert (q["required"], q["schema"]["default"]) == (False, "all")
