"""The market as its OpenAPI document describes it, asked by people of each role with what a machine makes up."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from craton.testing.crash import Process
from market.modules import MODULES

ROOT: Final = Path(__file__).parents[2]
PASSWORD: Final = "correct horse battery"  # noqa: S105
ANSWER_SECONDS: Final = 300
"""A request that takes this long gets no answer, on a slow and busy machine, too."""
EXAMPLES: Final = int(os.environ.get("CRATON_SCHEMA_EXAMPLES", "5"))
ROUTES: Final = [route for module in MODULES for route in module.routes]
ROLES: Final[dict[str, frozenset[str] | None]] = {
    "nobody": None,
    "buyer": frozenset(),
    "service": frozenset({"service"}),
    "admin": frozenset({"admin"}),
}
CHECKS: Final = [status_code_conformance, content_type_conformance, response_schema_conformance]


class Town:
    """A market with people of each role in it, and an order that Ada has placed."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.http = requests.Session()
        self.tokens: dict[str, str] = {}
        self.tokens["admin"] = self.log_in("admin@example.com")["access_token"]
        self.ids: dict[str, str] = {}
        for name in ("ada", "buyer", "service"):
            email = f"{name}@example.com"
            user = self.ask("POST", "/v1/users", json={"email": email, "name": name, "password": PASSWORD})["id"]
            self.tokens[name], self.ids[name] = self.log_in(email)["access_token"], user
        roles = {"roles": ["service"]}
        self.ask("PUT", f"/v1/users/{self.ids['service']}/roles", "admin", json=roles)
        price = {"amount": "10.00", "currency": "EUR"}
        self.ask("POST", "/v1/products", "admin", json={"id": "bread", "name": "Bread", "price": price})
        self.ask("POST", "/v1/products/bread/stock", "admin", json={"quantity": 1000})
        self.ids["order"] = self.bought("card")

    def log_in(self, email: str) -> Any:
        return self.ask("POST", "/v1/login", json={"email": email, "password": PASSWORD})

    def ask(self, method: str, path: str, role: str = "nobody", **more: Any) -> Any:
        answer = self.http.request(method, self.url + path, headers=self.headers(role), timeout=ANSWER_SECONDS, **more)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def bought(self, pay_with: str) -> str:
        """An order of Ada's that was confirmed."""
        lines = [{"product_id": "bread", "quantity": 1}]
        body = {"lines": lines, "pay_with": pay_with, "payment_method": "pm_card_visa"}
        order: str = self.ask("POST", "/v1/orders", "ada", json=body)["order_id"]
        while self.ask("GET", f"/v1/orders/{order}", "ada")["status"] != "confirmed":
            time.sleep(0.02)
        return order

    def headers(self, role: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.tokens[role]}"} if role in self.tokens else {}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    environment = {
        "CRATON_IDENTITY_ADMIN_PASSWORD": PASSWORD,
        "CRATON_NOTIFICATIONS_FOLDER": str(folder / "mail"),
    }
    with Process(data=folder / "data", folder=ROOT, app="market.app:app", environment=environment) as process:
        yield Town(process.port)


@pytest.mark.parametrize("role", ROLES)
def test_every_answer_is_one_that_the_document_describes(town: Town, role: str) -> None:
    schema = schemathesis.openapi.from_url(f"{town.url}/openapi.json", timeout=ANSWER_SECONDS)
    wrong: list[str] = []

    for found in schema.get_all_operations():
        operation = found.ok()  # type: ignore[union-attr]
        try:
            asking(town, operation, role)()
        except Exception as problem:
            wrong.append(f"{operation.label}: {problem}")
        if operation.path == "/v1/logout" and role in town.tokens:
            town.tokens[role] = town.log_in(f"{role}@example.com")["access_token"]

    assert not wrong, "\n\n".join(wrong)


def asking(town: Town, operation: Any, role: str) -> Callable[[], None]:
    """What asks for an operation with made-up values, and looks at the answers."""

    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        if case.headers is not None:
            case.headers.pop("Authorization", None)
        answer = case.call(
            base_url=town.url,
            session=town.http,
            headers=town.headers(role),
            allow_redirects=False,
            timeout=ANSWER_SECONDS,
        )
        assert answer.status_code != 500, f"500 for {case.as_curl_command()}"
        case.validate_response(answer, checks=CHECKS)
        raise_if_let_in(operation.method, operation.path, answer.status_code, ROLES[role])

    plain: Callable[[], None] = ask
    return plain


def raise_if_let_in(method: str, path: str, status: int, roles: frozenset[str] | None) -> None:
    """Whoever a route isn't for hears nothing but that."""
    access = next((r.access for r in ROUTES if (r.method, r.path) == (method.upper(), path)), None)
    if access is None or access.public:
        return
    if roles is None:
        assert status == 401, f"{status} for nobody"
    elif access.roles is not None and access.owner is None and access.roles.isdisjoint(roles):
        assert status == 403, f"{status} for {set(roles)}"


@pytest.mark.parametrize("path", ["/v1/orders", "/v2/payments", "/v1/shipments", "/v1/notifications"])
def test_lists_show_a_buyer_only_its_own_things(town: Town, path: str) -> None:
    assert town.ask("GET", path, "ada")["total"] > 0
    items = town.ask("GET", path, "buyer")["items"]

    assert town.ids["ada"] not in str(items)
