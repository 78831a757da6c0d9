"""`Idempotency-Key` on every POST: one effect, one answer."""

import asyncio

import pytest

from craton.testing import until
from tests.http.calls import money, open_account, shown
from tests.http.client import Client, Response


def told(response: Response) -> tuple[int, dict[str, str], bytes]:
    """What a response says, apart from when and that it says it again."""
    unlike = ("date", "idempotency-replayed", "craton-request-id")
    return response.status, {n: v for n, v in response.headers.items() if n not in unlike}, response.body


async def test_the_same_key_and_request_is_answered_byte_for_byte(client_of_each_store: Client) -> None:
    client = client_of_each_store
    account = await open_account(client)
    key = {"Idempotency-Key": "k-1"}

    first = await client.post(f"/v1/accounts/{account}/deposits", {"money": money("5")}, key)
    again = await client.post(f"/v1/accounts/{account}/deposits", {"money": money("5")}, key)

    assert told(again) == told(first)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert (await shown(client, account, again.position))["balance"] == money("5.00")


async def test_an_answer_without_a_body_is_replayed_too(client: Client) -> None:
    account = await open_account(client)
    key = {"Idempotency-Key": "k-1"}

    first = await client.post(f"/v1/accounts/{account}/close", {"reason": "x"}, key)
    again = await client.post(f"/v1/accounts/{account}/close", {"reason": "x"}, key)

    assert (first.status, told(again)) == (204, told(first))
    assert again.headers["idempotency-replayed"] == "true"


async def test_a_refusal_is_replayed_though_it_would_succeed_now(client: Client) -> None:
    account, key = await open_account(client), {"Idempotency-Key": "k-1"}
    first = await client.post(f"/v1/accounts/{account}/withdrawals", {"money": money("5")}, key)
    await client.post(f"/v1/accounts/{account}/deposits", {"money": money("5")})

    again = await client.post(f"/v1/accounts/{account}/withdrawals", {"money": money("5")}, key)

    assert (first.status, told(again)) == (409, told(first))
    assert again.headers["idempotency-replayed"] == "true"


async def test_a_refused_batch_is_replayed_with_its_results(client: Client) -> None:
    one, two, key = await open_account(client), await open_account(client), {"Idempotency-Key": "k-1"}
    batch = {"transfers": [{"source": one, "target": two, "money": money("5")}]}

    first = await client.post("/v1/transfers/batch", batch, key)
    again = await client.post("/v1/transfers/batch", batch, key)

    assert (first.status, told(again)) == (409, told(first))


async def test_the_order_and_spacing_of_the_body_do_not_make_another_request(client: Client) -> None:
    account, key = await open_account(client), {"Idempotency-Key": "k-1"}
    first = await client.post(f"/v1/accounts/{account}/deposits", b'{"money":{"amount":"5","currency":"EUR"}}', key)

    again = await client.post(
        f"/v1/accounts/{account}/deposits", b'{ "money": {"currency": "EUR", "amount": "5.00"} }', key
    )

    assert told(again) == told(first)


async def test_the_same_key_with_another_body_is_refused(client_of_each_store: Client) -> None:
    client = client_of_each_store
    account, key = await open_account(client), {"Idempotency-Key": "k-1"}
    first = await client.post(f"/v1/accounts/{account}/deposits", {"money": money("5")}, key)

    refused = await client.post(f"/v1/accounts/{account}/deposits", {"money": money("6")}, key)

    assert (refused.status, refused.code) == (422, "idempotency-key-reused")
    assert (await shown(client, account, first.position))["balance"] == money("5.00")


async def test_the_same_key_for_another_account_is_refused(client: Client) -> None:
    one, two, key = await open_account(client), await open_account(client), {"Idempotency-Key": "k-1"}
    await client.post(f"/v1/accounts/{one}/deposits", {"money": money("5")}, key)

    refused = await client.post(f"/v1/accounts/{two}/deposits", {"money": money("5")}, key)

    assert (refused.status, refused.code) == (422, "idempotency-key-reused")


async def test_a_key_is_scoped_to_its_route(client: Client) -> None:
    account, key = await open_account(client, "5"), {"Idempotency-Key": "k-1"}
    await client.post(f"/v1/accounts/{account}/deposits", {"money": money("5")}, key)

    other = await client.post(f"/v1/accounts/{account}/withdrawals", {"money": money("5")}, key)

    assert (other.status, "idempotency-replayed" in other.headers) == (201, False)


async def test_fifty_at_once_with_one_key_have_one_effect(client_of_each_store: Client) -> None:
    client = client_of_each_store
    account, key = await open_account(client), {"Idempotency-Key": "k-1"}

    answers = await asyncio.gather(
        *(client.post(f"/v1/accounts/{account}/deposits", {"money": money("5")}, key) for _ in range(50))
    )

    assert len({answer.body for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert (await shown(client, account, answers[0].position))["balance"] == money("5.00")


async def test_fifty_at_once_that_differ_have_one_effect(client: Client) -> None:
    account, key = await open_account(client), {"Idempotency-Key": "k-1"}

    answers = await asyncio.gather(
        *(client.post(f"/v1/accounts/{account}/deposits", {"money": money(str(n))}, key) for n in range(1, 51))
    )

    statuses = [answer.status for answer in answers]
    assert (statuses.count(201), statuses.count(422)) == (1, 49)


async def test_a_key_may_have_two_hundred_characters(client: Client) -> None:
    body = {"owner": "Ada", "currency": "EUR"}

    assert (await client.post("/v1/accounts", body, {"Idempotency-Key": "k" * 200})).status == 201
    refused = await client.post("/v1/accounts", body, {"Idempotency-Key": "k" * 201})
    assert (refused.status, refused.code) == (400, "malformed-header")


@pytest.mark.parametrize("key", ["", "\x01", "ü"])
async def test_a_malformed_key_is_refused(client: Client, key: str) -> None:
    refused = await client.post("/v1/accounts", {"owner": "Ada", "currency": "EUR"}, {"Idempotency-Key": key})

    assert refused.status == 400


async def test_a_wrong_request_does_not_use_the_key_up(client: Client) -> None:
    account, key = await open_account(client), {"Idempotency-Key": "k-1"}

    wrong = await client.post(f"/v1/accounts/{account}/deposits", {"money": 5}, key)
    right = await client.post(f"/v1/accounts/{account}/deposits", {"money": money("5")}, key)

    assert (wrong.status, right.status) == (422, 201)


async def test_a_rollback_that_is_repeated_with_its_key_rolls_back_once(client: Client) -> None:
    await open_account(client, "5")
    await client.post("/v1/admin/projections/balances/rebuild")

    async def rebuilt() -> bool:
        return bool((await client.get("/v1/admin/projections/balances")).json["live"] == 2)

    await until(rebuilt)
    key = {"Idempotency-Key": "k-1"}

    first = await client.post("/v1/admin/projections/balances/rollback", None, key)
    await client.post("/v1/admin/projections/balances/rollback", None, key)

    assert (first.status, first.json["live"]) == (200, 1)
    assert (await client.get("/v1/admin/projections/balances")).json["live"] == 1
