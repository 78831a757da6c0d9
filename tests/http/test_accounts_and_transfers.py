"""The ledger's routes, as a client uses them."""

from urllib.parse import quote

import pytest

from tests.http.calls import money, open_account, shown
from tests.http.client import Client
from tests.market.bank import Bank

UNKNOWN = "0195f000-0000-7000-8000-000000000000"


async def test_an_account_is_opened_with_its_location(client: Client) -> None:
    opened = await client.post("/v1/accounts", {"owner": "Ada", "currency": "EUR"})

    assert opened.status == 201
    assert opened.headers["location"] == f"/v1/accounts/{opened.json['id']}"
    found = await client.get(opened.headers["location"], opened.position)
    assert (found.status, found.json["owner"], found.json["balance"]) == (200, "Ada", money("0.00"))


async def test_a_deposit_and_a_withdrawal_are_transfers(client: Client) -> None:
    account = await open_account(client)

    deposit = await client.post(f"/v1/accounts/{account}/deposits", {"money": money("10")})
    withdrawal = await client.post(f"/v1/accounts/{account}/withdrawals", {"money": money("3.5")})

    assert (deposit.status, withdrawal.status) == (201, 201)
    found = await client.get(withdrawal.headers["location"], withdrawal.position)
    assert (found.json["source"], found.json["money"]) == (account, money("3.50"))
    assert (await shown(client, account, withdrawal.position))["balance"] == money("6.50")


async def test_a_transfer_moves_money(client: Client) -> None:
    source, target = await open_account(client, "10"), await open_account(client)

    made = await client.post(
        "/v1/transfers", {"source": source, "target": target, "money": money("4"), "reference": "lunch"}
    )

    assert made.status == 201
    state = (await client.get(made.headers["location"], made.position)).json
    assert (state["status"], state["reference"]) == ("posted", "lunch")
    assert (await shown(client, target))["balance"] == money("4.00")


async def test_a_hold_is_posted_or_voided(client: Client) -> None:
    source, target = await open_account(client, "10"), await open_account(client)
    hold = {"source": source, "target": target, "money": money("4"), "pending": True, "expires_in": 3600}
    first, second = await client.post("/v1/transfers", hold), await client.post("/v1/transfers", hold)

    posted = await client.post(f"{first.headers['location']}/post", {"money": money("1")})
    voided = await client.post(f"{second.headers['location']}/void")

    assert (posted.status, posted.body, voided.status, voided.body) == (204, b"", 204, b"")
    account = await shown(client, source, voided.position)
    assert (account["balance"], account["held"]) == (money("9.00"), money("0.00"))


async def test_a_batch_has_a_result_per_transfer(client: Client) -> None:
    source, target = await open_account(client, "10"), await open_account(client)
    transfers = [{"source": source, "target": target, "money": money(amount)} for amount in ("9", "9")]

    refused = await client.post("/v1/transfers/batch", {"transfers": transfers, "atomic": True})
    partly = await client.post("/v1/transfers/batch", {"transfers": transfers, "atomic": False})

    assert (refused.status, refused.code) == (409, "batch-refused")
    assert [result["code"] for result in refused.json["details"]["results"]] == [None, "insufficient-funds"]
    assert (partly.status, [result["code"] for result in partly.json]) == (200, [None, "insufficient-funds"])


async def test_an_account_is_closed(client: Client) -> None:
    account = await open_account(client)

    closed = await client.post(f"/v1/accounts/{account}/close", {"reason": "moved away"})

    assert closed.status == 204
    assert (await shown(client, account, closed.position))["closed"] is True


async def test_an_account_is_shown_as_it_was(client: Client, bank: Bank) -> None:
    account = await open_account(client, "10")
    then = bank.clock.turn(seconds=1).isoformat()
    bank.clock.turn(seconds=1)
    await client.post(f"/v1/accounts/{account}/withdrawals", {"money": money("3")})

    by_time = await client.get(f"/v1/accounts/{account}?at={quote(then)}")
    by_version = await client.get(f"/v1/accounts/{account}?version=2")

    assert by_time.json["balance"] == by_version.json["balance"] == money("10.00")
    assert by_version.json["version"] == 2


async def test_the_statement_is_cut_out_by_from_and_to(client: Client, bank: Bank) -> None:
    account = await open_account(client, "10")
    then = quote(bank.clock.turn(seconds=1).isoformat())
    bank.clock.turn(seconds=1)
    await client.post(f"/v1/accounts/{account}/withdrawals", {"money": money("3")})
    last = await client.post(f"/v1/accounts/{account}/withdrawals", {"money": money("2")})

    before = await client.get(f"/v1/accounts/{account}/entries?to={then}", last.position)
    after = await client.get(f"/v1/accounts/{account}/entries?from={then}", last.position)

    assert [entry["balance"] for entry in before.json["items"]] == [money("10.00")]
    assert [entry["balance"] for entry in after.json["items"]] == [money("5.00"), money("7.00")]


async def test_the_audit_shows_the_events(client: Client) -> None:
    account = await open_account(client, "10")

    events = (await client.get(f"/v1/accounts/{account}/events")).json

    assert [event["type"] for event in events["items"]] == ["MoneyCredited", "AccountOpened"]


async def test_the_trial_balance_is_zero(client: Client) -> None:
    await open_account(client, "10")

    (line,) = (await client.get("/v1/trial-balance")).json["lines"]

    assert line == {
        "currency": "EUR",
        "debits": money("10.00"),
        "credits": money("10.00"),
        "difference": money("0.00"),
    }


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/accounts", {"owner": " ", "currency": "EUR"}, 422, "blank-owner"),
        (f"/v1/accounts/{UNKNOWN}/deposits", {"money": money("1")}, 404, "account-not-found"),
        ("/v1/accounts/{poor}/deposits", {"money": money("0")}, 422, "amount-not-positive"),
        ("/v1/accounts/{poor}/deposits", {"money": money("1", "JPY")}, 422, "currency-mismatch"),
        ("/v1/accounts/{poor}/withdrawals", {"money": money("1.01")}, 409, "insufficient-funds"),
        ("/v1/accounts/{poor}/close", {"reason": "x"}, 409, "balance-not-zero"),
        ("/v1/transfers", {"source": "{poor}", "target": "{poor}", "money": money("1")}, 422, "same-account"),
        (
            "/v1/transfers",
            {"source": "{poor}", "target": "{closed}", "money": money("1")},
            409,
            "account-is-closed",
        ),
        (
            "/v1/transfers",
            {"source": "{poor}", "target": "{other}", "money": money("1"), "expires_in": 5},
            422,
            "expiry-without-hold",
        ),
        (f"/v1/transfers/{UNKNOWN}/post", {}, 404, "transfer-not-found"),
        (f"/v1/transfers/{UNKNOWN}/void", None, 404, "transfer-not-found"),
        ("/v1/transfers/batch", {"transfers": []}, 422, "invalid-value"),
    ],
)
async def test_each_rule_has_a_code_of_its_own(client: Client, path: str, body: object, status: int, code: str) -> None:
    names = {
        "poor": await open_account(client, "1"),
        "other": await open_account(client),
        "closed": await open_account(client),
    }
    await client.post(f"/v1/accounts/{names['closed']}/close", {"reason": "x"})
    if isinstance(body, dict):
        body = {
            key: names.get(value.strip("{}"), value) if isinstance(value, str) else value for key, value in body.items()
        }

    refused = await client.post(path.format(**names) if "{" in path else path, body)

    assert (refused.status, refused.code) == (status, code)


async def test_a_hold_is_resolved_once(client: Client) -> None:
    source, target = await open_account(client, "10"), await open_account(client)
    hold = await client.post(
        "/v1/transfers", {"source": source, "target": target, "money": money("4"), "pending": True}
    )
    too_much = await client.post(f"{hold.headers['location']}/post", {"money": money("4.01")})
    await client.post(f"{hold.headers['location']}/post")

    again = await client.post(f"{hold.headers['location']}/void")

    assert (too_much.status, too_much.code) == (409, "hold-exceeded")
    assert (again.status, again.code, again.json["details"]) == (409, "hold-resolved", {"status": "posted"})
