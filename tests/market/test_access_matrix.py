"""Every route of the market, asked by every kind of caller: about what is Ada's, with a body that could be accepted.

The routes come from the route tables. A route that has no line in `MATRIX` fails the test.
"""

from collections.abc import Callable
from typing import Any, Final

import pytest

from market.modules import MODULES
from tests.market.shop import ADMIN_PASSWORD, PASSWORD, Person, Shop

CALLERS: Final = ("nobody", "owner", "another", "service", "admin")
MATRIX: Final = {
    # nobody, the owner, another user, a service, an administrator: + is let in, - isn't
    "POST /v1/users": "+++++",
    "GET /v1/users": "----+",
    "GET /v1/users/{user}": "-++++",
    "PUT /v1/users/{user}": "-+--+",
    "DELETE /v1/users/{user}": "-+--+",
    "PUT /v1/users/{user}/roles": "----+",
    "GET /v1/users/{user}/validate": "---++",
    "POST /v1/login": "+++++",
    "POST /v1/token/refresh": "+++++",
    "POST /v1/logout": "-++++",
    "POST /v1/messages": "-++++",
    "GET /v1/messages": "-++++",
    "GET /v1/messages/{message}": "-++++",
    "PUT /v1/messages/{message}": "-+---",
    "DELETE /v1/messages/{message}": "-+---",
    "POST /v1/recipes": "-++++",
    "GET /v1/recipes": "+++++",
    "GET /v1/recipes/{recipe}": "+++++",
    "POST /v1/recipes/{recipe}/ingredients": "-+---",
    "DELETE /v1/recipes/{recipe}/ingredients/{ingredient}": "-+---",
    "POST /v1/participants": "-++++",
    "GET /v1/participants": "-++++",
    "GET /v1/participants/{participant}": "-++++",
    "PUT /v1/participants/{participant}": "-+-++",
    "DELETE /v1/participants/{participant}": "-+-++",
    "POST /v1/participants/{participant}/modify-and-unregister": "-+-++",
    "GET /v1/courses": "-++++",
    "POST /v1/courses": "----+",
    "POST /v1/courses/{course}/enrolments": "-+-++",
    "DELETE /v1/courses/{course}/enrolments/{participant}": "-+-++",
    "POST /v1/products": "----+",
    "GET /v1/products": "+++++",
    "GET /v1/products/{product}": "+++++",
    "PUT /v1/products/{product}": "----+",
    "DELETE /v1/products/{product}": "----+",
    "GET /v1/products/{product}/stock": "+++++",
    "POST /v1/products/{product}/stock": "----+",
    "POST /v1/orders": "-++++",
    "GET /v1/orders": "-++++",
    "GET /v1/orders/{order}": "-+--+",
    "POST /v1/orders/{order}/cancel": "-+--+",
    "POST /v1/orders/{order}/ship": "---++",
    "POST /v1/orders/{order}/deliver": "---++",
    "POST /v2/payments": "-+--+",
    "GET /v2/payments": "-++++",
    "GET /v2/payments/{payment}": "-+--+",
    "POST /v2/payments/{payment}/refunds": "----+",
    "POST /v2/checkout-sessions": "-+--+",
    "POST /v2/wallet/deposit": "-++++",
    "POST /v1/accounts": "-+--+",
    "GET /v1/accounts/{account}": "-+--+",
    "GET /v1/accounts/{account}/entries": "-+--+",
    "GET /v1/accounts/{account}/events": "-+--+",
    "POST /v1/accounts/{account}/deposits": "----+",
    "POST /v1/accounts/{account}/withdrawals": "-+--+",
    "POST /v1/accounts/{account}/close": "-+--+",
    "POST /v1/transfers": "-+--+",
    "POST /v1/transfers/batch": "-+--+",
    "GET /v1/transfers/{transfer}": "-+--+",
    "POST /v1/transfers/{transfer}/post": "-+--+",
    "POST /v1/transfers/{transfer}/void": "-+--+",
    "GET /v1/trial-balance": "----+",
    "GET /v2/wallet": "-++++",
    "POST /v2/wallet/withdraw": "-++++",
    "GET /v1/shipments": "-++++",
    "GET /v1/shipments/{shipment}": "-+-++",
    "GET /v1/notifications": "-++++",
    "GET /v1/analytics/sales": "----+",
    "GET /v1/analytics/revenue": "----+",
    "GET /v1/analytics/funnel": "----+",
}
BY_SIGNATURE: Final = {"POST /v1/membership/webhooks", "POST /v2/stripe/webhooks"}
"""Routes whose callers prove themselves by a signature, whatever token they carry."""
ROUTES: Final = [f"{route.method} {route.path}" for module in MODULES for route in module.routes]
CENT: Final = {"amount": "0.01", "currency": "EUR"}


class Scene:
    """A market in which there is one of everything that can be somebody's, and all of it is Ada's."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.ids: dict[str, str] = {}
        self.callers: dict[str, Person] = {}

    async def prepare(self) -> "Scene":
        shop, ids = self.shop, self.ids
        admin = await shop.admin()
        ada, bob, service = await shop.register("Ada"), await shop.register("Bob"), await shop.register("Serv")
        assert (await admin.put(f"/v1/users/{service.id}/roles", {"roles": ["service"]})).status == 204
        self.callers = {"nobody": shop.nobody, "owner": ada, "another": bob, "service": service, "admin": admin}
        ids["user"] = ada.id
        ids["product"] = await shop.add_product("1.00", stock=1_000)
        ids["order"] = str((await shop.order(ada, {ids["product"]: 1}))["id"])
        ids["payment"] = (await ada.get(f"/v2/payments?order={ids['order']}")).json["items"][0]["id"]
        shipments = f"/v1/shipments?order={ids['order']}"
        ids["shipment"] = (await shop.seen(ada, shipments, lambda it: it["total"] == 1))["items"][0]["id"]
        ids["account"], other = [await self._account(ada) for _ in range(2)]
        ids["other account"] = other
        ids["transfer"] = (await ada.post("/v1/transfers", self._transfer() | {"pending": True})).json["id"]
        ids["message"] = (await ada.post("/v1/messages", {"body": "Hello"})).json["id"]
        recipe = {"name": "Bread", "description": "Flour, water, salt."}
        ids["recipe"] = (await ada.post("/v1/recipes", recipe)).json["id"]
        added = await ada.post(f"/v1/recipes/{ids['recipe']}/ingredients", self._ingredient())
        ids["ingredient"] = added.json[0]
        ids["participant"] = (await ada.post("/v1/participants", {"name": "Zoe"})).json["id"]
        ids["course"] = (await admin.post("/v1/courses", {"title": "Bread", "capacity": 9})).json["id"]
        return self

    async def _account(self, owner: Person) -> str:
        opened = await owner.post("/v1/accounts", {"owner": owner.id, "currency": "EUR"})
        money = {"money": {"amount": "50.00", "currency": "EUR"}}
        assert (await (await self.shop.admin()).post(f"/v1/accounts/{opened.json['id']}/deposits", money)).status < 300
        return str(opened.json["id"])

    def _transfer(self) -> dict[str, Any]:
        return {"source": self.ids["account"], "target": self.ids["other account"], "money": CENT}

    @staticmethod
    def _ingredient() -> dict[str, Any]:
        return {"ingredients": {"name": "Flour", "amount": {"quantity": 1, "unit": "kg"}, "calories": 1}}

    def body(self, route: str, caller: str) -> Any:
        """A body with which the route could be accepted; None if it takes none."""
        bodies: dict[str, Callable[[], dict[str, Any]]] = {
            "POST /v1/users": lambda: {"email": f"{caller}@example.org", "name": caller, "password": PASSWORD},
            "PUT /v1/users/{user}/roles": lambda: {"roles": []},
            "POST /v1/login": lambda: {"email": self.callers["another"].email, "password": PASSWORD},
            "POST /v1/token/refresh": lambda: {"refresh_token": self.callers["owner"].tokens["refresh_token"]},
            "POST /v1/messages": lambda: {"body": "Hello"},
            "PUT /v1/messages/{message}": lambda: {"body": "Goodbye"},
            "POST /v1/recipes": lambda: {"name": "Cake", "description": "Sugar, and more sugar."},
            "POST /v1/recipes/{recipe}/ingredients": self._ingredient,
            "POST /v1/participants": lambda: {"name": caller},
            "POST /v1/courses": lambda: {"title": "Cake", "capacity": 1},
            "POST /v1/courses/{course}/enrolments": lambda: {"participant": self.ids["participant"]},
            "POST /v1/products": lambda: {"name": "Fork", "price": CENT},
            "POST /v1/products/{product}/stock": lambda: {"quantity": 1},
            "POST /v1/orders": lambda: {
                "lines": [{"product_id": self.ids["product"], "quantity": 1}],
                "pay_with": "card",
                "payment_method": "pm_card_visa",
            },
            "POST /v1/orders/{order}/cancel": lambda: {"reason": "out of spite"},
            "POST /v2/payments": lambda: {"order": self.ids["order"], "amount": CENT},
            "POST /v2/checkout-sessions": lambda: {"order": self.ids["order"]},
            "POST /v2/wallet/deposit": lambda: {"money": CENT, "payment_method": "pm_card_visa"},
            "POST /v2/wallet/withdraw": lambda: {"money": CENT},
            "POST /v1/accounts": lambda: {"owner": self.ids["user"], "currency": "EUR"},
            "POST /v1/accounts/{account}/deposits": lambda: {"money": CENT},
            "POST /v1/accounts/{account}/withdrawals": lambda: {"money": CENT},
            "POST /v1/accounts/{account}/close": lambda: {"reason": "out of spite"},
            "POST /v1/transfers": self._transfer,
            "POST /v1/transfers/batch": lambda: {"transfers": [self._transfer()], "atomic": True},
        }
        made = bodies.get(route)
        if made is not None:
            return made()
        return {} if route.startswith(("POST", "PUT")) else None

    async def refused(self, route: str, caller: str) -> bool:
        """Whether a caller is refused. A stranger gets 401, and everybody else 403."""
        method, path = route.split(" ")
        answer = await self.callers[caller].request(
            method, path.format(**self.ids), self.body(route, caller), {"Idempotency-Key": f"{route} {caller}"}
        )
        assert answer.status != 500, answer.body
        assert answer.status not in ((403,) if caller == "nobody" else (401,)), (answer.status, answer.body)
        if route == "POST /v1/logout" and caller != "nobody":
            person = self.callers[caller]
            password = ADMIN_PASSWORD if caller == "admin" else PASSWORD
            person.tokens = (await self.shop.login(person.email, password)).tokens
        in_part = b'"access-denied"' in answer.body  # a batch says it of each transfer
        return answer.status in (401, 403) or in_part


def test_every_route_has_a_line() -> None:
    assert MATRIX.keys() | BY_SIGNATURE == set(ROUTES)


@pytest.mark.parametrize(
    "module", [module for module in MODULES if list(module.routes)], ids=lambda module: module.name
)
async def test_each_route_lets_in_whom_its_line_says(shop_sqlite: Shop, module: Any) -> None:
    scene = await Scene(shop_sqlite).prepare()
    routes = [f"{one.method} {one.path}" for one in module.routes]
    asked = [
        (route, caller, sign) for route in routes for caller, sign in zip(CALLERS, MATRIX.get(route, ""), strict=False)
    ]
    asked.sort(
        key=lambda one: (one[2] == "+", "DELETE" in one[0] or "unregister" in one[0])
    )  # what ends something, last
    wrong = [
        f"{route}: {caller} is {'let in' if sign == '-' else 'refused'}"
        for route, caller, sign in asked
        if await scene.refused(route, caller) != (sign == "-")
    ]

    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("route", sorted(BY_SIGNATURE))
async def test_without_a_signature_a_webhook_is_refused(shop_sqlite: Shop, route: str) -> None:
    admin = await shop_sqlite.admin()

    for caller in (shop_sqlite.nobody, admin):
        assert (await caller.post(route.split(" ")[1], {})).status in (401, 422)
