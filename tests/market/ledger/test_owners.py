"""Access to accounts over HTTP: what owners, other users and administrators may do."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from craton.domain import Currency, Name
from market.ledger.api import Ledger
from market.ledger.events import AccountId
from tests.http.client import Response
from tests.market.money import eur
from tests.market.shop import Person, Shop

EUR = Currency("EUR")


def money(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "EUR"}


class Street:
    """Ada with 100.00 and Bob with nothing, an administrator, and a caller that isn't logged in."""

    def __init__(self, shop: Shop, ada: Person, bob: Person, admin: Person) -> None:
        self.shop, self.ada, self.bob, self.admin = shop, ada, bob, admin
        self.of_ada = self.of_bob = ""

    async def open(self, owner: Person, amount: str = "") -> str:
        ledger = self.shop.api(Ledger)
        account = await ledger.open_account(Name(owner.id), EUR)
        if amount:
            await ledger.deposit(account, eur(amount))
        return account

    async def everybody(self, method: str, path: str, body: Any = None) -> list[int]:
        """The statuses for a caller without a token, Bob, Ada and the administrator, in this order."""
        people = (self.shop.nobody, self.bob, self.ada, self.admin)
        return [(await who.request(method, path, body)).status for who in people]

    async def seen(self) -> dict[str, str]:
        """Headers that make a request wait until it sees all that has happened in the ledger."""
        return {"Craton-Position": f"ledger={await self.shop.app.running['ledger'].store.head()}"}

    async def balance(self, account: str) -> str:
        shown = await self.admin.get(f"/v1/accounts/{account}", await self.seen())
        return str(shown.json["balance"]["amount"])


@pytest.fixture
async def street(shop_sqlite: Shop) -> AsyncIterator[Street]:
    ada, bob, admin = await shop_sqlite.register("Ada"), await shop_sqlite.register("Bob"), await shop_sqlite.admin()
    street = Street(shop_sqlite, ada, bob, admin)
    street.of_ada, street.of_bob = await street.open(ada, "100.00"), await street.open(bob)
    await street.admin.get(
        f"/v1/accounts/{street.of_bob}", await street.seen()
    )  # wait until the views show the accounts
    yield street


def code(refused: Response) -> tuple[int, str]:
    return refused.status, refused.code


async def test_users_open_accounts_for_themselves_only(street: Street) -> None:
    def account(owner: Person) -> dict[str, str]:
        return {"owner": owner.id, "currency": "EUR"}

    assert await street.everybody("POST", "/v1/accounts", account(street.ada)) == [401, 403, 201, 201]
    named = await street.bob.post("/v1/accounts", {"owner": "The world outside", "currency": "EUR"})
    assert code(named) == (403, "access-denied")
    made = await street.bob.post("/v1/accounts", account(street.bob))
    shown = await street.bob.get(made.headers["location"], made.position)
    assert (shown.status, shown.json["owner"], shown.json["kind"]) == (200, street.bob.id, "liability")


async def test_only_its_owner_and_administrators_see_an_account(street: Street) -> None:
    account = f"/v1/accounts/{street.of_ada}"

    for path in (
        account,
        f"{account}?version=1",
        f"{account}?at=2999-01-01T00:00:00Z",
        f"{account}/entries",
        f"{account}/events",
    ):
        assert (path, await street.everybody("GET", path)) == (path, [401, 403, 200, 200])
    unknown = f"/v1/accounts/{AccountId.new()}"
    for path in (unknown, f"{unknown}?version=1", f"{unknown}/entries", f"{unknown}/events"):
        assert code(await street.ada.get(path)) == (404, "account-not-found")


async def test_users_cannot_use_the_markets_own_accounts(street: Street) -> None:
    for account in (AccountId.external(EUR), AccountId.sales(EUR)):
        path = f"/v1/accounts/{account}"
        assert (await street.ada.get(path)).status in (403, 404)
        assert (await street.ada.get(f"{path}/entries")).status in (403, 404)
    outside = AccountId.external(EUR)
    stolen = {"source": outside, "target": street.of_bob, "money": money("1000000.00")}
    assert code(await street.bob.post("/v1/transfers", stolen)) == (403, "access-denied")
    refused = await street.bob.post(f"/v1/accounts/{outside}/withdrawals", {"money": money("1.00")})
    assert code(refused) == (403, "access-denied")
    assert code(await street.admin.post(f"/v1/accounts/{outside}/close", {"reason": "x"})) == (409, "external-account")


async def test_only_an_administrator_makes_deposits(street: Street) -> None:
    deposit = f"/v1/accounts/{street.of_ada}/deposits"

    assert await street.everybody("POST", deposit, {"money": money("1.00")}) == [401, 403, 403, 201]
    assert await street.balance(street.of_ada) == "101.00"


async def test_only_its_owner_and_administrators_withdraw_from_an_account(street: Street) -> None:
    withdrawal = f"/v1/accounts/{street.of_ada}/withdrawals"

    assert await street.everybody("POST", withdrawal, {"money": money("1.00")}) == [401, 403, 201, 201]
    assert await street.balance(street.of_ada) == "98.00"


async def test_only_its_owner_and_administrators_close_an_account(street: Street) -> None:
    account = await street.open(street.ada)

    statuses = await street.everybody("POST", f"/v1/accounts/{account}/close", {"reason": "moved away"})

    assert statuses == [401, 403, 204, 409]  # Ada has closed it before the administrator tries


async def test_only_the_owner_of_the_money_and_administrators_transfer_it(street: Street) -> None:
    transfer = {"source": street.of_ada, "target": street.of_bob, "money": money("1.00")}

    assert await street.everybody("POST", "/v1/transfers", transfer) == [401, 403, 201, 201]
    assert await street.everybody("POST", "/v1/transfers", {**transfer, "pending": True}) == [401, 403, 201, 201]
    assert (await street.balance(street.of_ada), await street.balance(street.of_bob)) == ("98.00", "2.00")
    unknown = {**transfer, "source": AccountId.new()}
    assert code(await street.bob.post("/v1/transfers", unknown)) == (404, "account-not-found")


async def test_the_owners_of_both_accounts_see_a_transfer(street: Street) -> None:
    carl = await street.shop.register("Carl")
    transfer = {"source": street.of_ada, "target": street.of_bob, "money": money("1.00")}
    for pending in (False, True):
        made = await street.ada.post("/v1/transfers", {**transfer, "pending": pending})
        path = made.headers["location"]
        await street.admin.get(path, made.position)

        assert await street.everybody("GET", path) == [401, 200, 200, 200]
        assert code(await carl.get(path)) == (403, "access-denied")
    assert code(await carl.get(f"/v1/transfers/{AccountId.new()}")) == (404, "transfer-not-found")


@pytest.mark.parametrize("verb", ["post", "void"])
async def test_the_owner_of_the_target_account_resolves_a_hold(street: Street, verb: str) -> None:
    transfer = {"source": street.of_ada, "target": street.of_bob, "money": money("10.00"), "pending": True}
    hold = (await street.ada.post("/v1/transfers", transfer)).headers["location"]

    refused = [await who.post(f"{hold}/{verb}") for who in (street.shop.nobody, street.ada)]
    resolved = await street.bob.post(f"{hold}/{verb}")
    again = await street.admin.post(f"{hold}/{verb}")

    assert [code(answer) for answer in refused] == [(401, "unauthenticated"), (403, "access-denied")]
    assert (resolved.status, code(again)) == (204, (409, "hold-resolved"))
    assert await street.balance(street.of_bob) == ("10.00" if verb == "post" else "0.00")
    second = (await street.ada.post("/v1/transfers", transfer)).headers["location"]
    assert (await street.admin.post(f"{second}/{verb}")).status == 204


async def test_a_batch_makes_only_transfers_of_the_callers_own_money(street: Street) -> None:
    own = {"source": street.of_ada, "target": street.of_bob, "money": money("1.00")}
    others = {"source": street.of_bob, "target": street.of_ada, "money": money("1.00")}

    together = await street.ada.post("/v1/transfers/batch", {"transfers": [own, others]})
    apart = await street.ada.post("/v1/transfers/batch", {"transfers": [own, others], "atomic": False})

    assert code(together) == (409, "batch-refused")
    assert [result.get("code") for result in together.json["details"]["results"]] == [None, "access-denied"]
    assert apart.status == 200
    assert [result.get("code") for result in apart.json] == [None, "access-denied"]
    assert (await street.balance(street.of_ada), await street.balance(street.of_bob)) == ("99.00", "1.00")
    assert (await street.shop.nobody.post("/v1/transfers/batch", {"transfers": [own]})).status == 401


async def test_the_trial_balance_is_for_administrators(street: Street) -> None:
    assert await street.everybody("GET", "/v1/trial-balance") == [401, 403, 403, 200]
    assert await street.everybody("GET", "/v1/trial-balance?at=2999-01-01T00:00:00Z") == [401, 403, 403, 200]


async def test_a_wallet_follows_the_rules_of_other_accounts(street: Street) -> None:
    await street.shop.api(Ledger).deposit_to_wallet(Name(street.ada.id), eur("5.00"))
    wallet = (await street.ada.get("/v2/wallet", await street.seen())).json
    transfer = {"source": wallet["id"], "target": street.of_bob, "money": money("5.00")}

    assert await street.everybody("GET", f"/v1/accounts/{wallet['id']}/entries") == [401, 403, 200, 200]
    assert (await street.bob.post("/v1/transfers", transfer)).status == 403
    assert (await street.ada.post("/v1/transfers", transfer)).status == 201
    assert await street.balance(street.of_bob) == "5.00"


async def test_two_people_cannot_spend_each_others_money_however_fast_they_are(street: Street) -> None:
    theft = {"source": street.of_ada, "target": street.of_bob, "money": money("1.00")}

    answers = await asyncio.gather(*(street.bob.post("/v1/transfers", theft) for _ in range(20)))

    assert {answer.status for answer in answers} == {403}
    assert (await street.balance(street.of_ada), await street.balance(street.of_bob)) == ("100.00", "0.00")
