"""Health, metrics, the API's description, and the admin routes of the projections."""

import asyncio
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from craton.ports import Changeset, Timer
from craton.testing import until
from market.ledger.events import AccountId
from tests.http.calls import money, open_account
from tests.http.client import Client
from tests.market.bank import Bank


async def test_a_process_that_runs_is_live(client: Client) -> None:
    assert (await client.get("/health/live")).status == 200


async def test_a_process_whose_stores_answer_is_ready(client_of_each_store: Client) -> None:
    ready = await client_of_each_store.get("/health/ready")

    assert (ready.status, ready.json["failing"]) == (200, [])


async def test_metrics_are_prometheus_text(client: Client) -> None:
    account = await open_account(client, "5")
    await client.get("/v1/accounts/nonsense")

    metrics = await client.get("/metrics")

    text = metrics.body.decode()
    assert metrics.headers["content-type"].startswith("text/plain; version=")
    assert re.search(r'craton_http_requests_total\{method="POST",route="/v1/accounts",status="201"\} 1\.0', text)
    assert re.search(r'route="/v1/accounts/\{account\}",status="422"\} 1\.0', text)
    assert 'craton_log_position{module="ledger"}' in text
    assert 'craton_projection_lag_events{module="ledger",projection="balances"}' in text
    assert account not in text


async def test_parked_timers_are_counted(client: Client, bank: Bank) -> None:
    store = bank.running.store
    timers = [Timer(f"t{n}", datetime(2026, 5, 17, tzinfo=UTC), "gone", "{}", "{}", parked=True) for n in range(3)]
    await store.write([Changeset(timers=timers)])

    text = (await client.get("/metrics")).body.decode()

    assert 'craton_timers_parked{module="ledger"} 3.0' in text


async def test_a_get_may_be_asked_for_its_head_only(client: Client) -> None:
    account = await open_account(client)

    head = await client.request("HEAD", f"/v1/accounts/{account}")

    assert (head.status, head.headers["etag"], head.body) == (200, '"1"', b"")


async def test_the_projections_are_listed_with_their_progress(client: Client) -> None:
    await open_account(client, "5")

    listed = (await client.get("/v1/admin/projections")).json

    assert {entry["projection"] for entry in listed} == {"balances", "statement", "transfers"}
    assert all({"live", "position", "head", "lag", "parked"} <= entry.keys() for entry in listed)


async def test_a_rebuild_is_accepted_with_a_place_to_watch_it(client: Client) -> None:
    await open_account(client, "5")

    accepted = await client.post("/v1/admin/projections/balances/rebuild")

    assert (accepted.status, accepted.json["building"]) == (202, 2)
    watched = await client.get(accepted.headers["location"])
    assert (watched.status, watched.json["projection"]) == (200, "balances")


async def rebuilt(client: Client, projection: str, generation: int) -> Any:
    async def live() -> bool:
        return bool((await client.get(f"/v1/admin/projections/{projection}")).json["live"] == generation)

    await until(live, seconds=20)
    return (await client.get(f"/v1/admin/projections/{projection}")).json


@pytest.mark.parametrize("projection", ["balances", "statement", "transfers"])
async def test_queries_are_answered_in_full_throughout_a_rebuild(client_of_each_store: Client, projection: str) -> None:
    client = client_of_each_store
    one, two = await open_account(client, "1000"), await open_account(client)
    body = {"transfers": [{"source": one, "target": two, "money": money("0.01")}] * 100}
    made = [await client.post("/v1/transfers/batch", body) for _ in range(10)]
    transfer = made[-1].json[-1]["id"]
    for path in (f"/v1/transfers/{transfer}", f"/v1/accounts/{two}", f"/v1/accounts/{two}/entries"):
        assert (await client.get(path, made[-1].position)).status == 200
    accepted = await client.post(f"/v1/admin/projections/{projection}/rebuild")
    assert accepted.status == 202

    answers: list[tuple[Any, ...]] = []

    done = asyncio.Event()

    async def ask() -> None:
        while not done.is_set():
            balance = (await client.get(f"/v1/accounts/{two}")).json.get("balance")
            total = (await client.get(f"/v1/accounts/{two}/entries?page_size=1")).json.get("total")
            status = (await client.get(f"/v1/transfers/{transfer}")).json.get("status")
            answers.append((balance, total, status))

    asking = asyncio.create_task(ask())
    progress = await rebuilt(client, projection, 2)
    done.set()
    await asking

    assert (progress["building"], progress["previous"]) == (0, 1)
    assert answers
    assert set(map(str, answers)) == {str((money("10.00"), 1000, "posted"))}


async def test_a_rebuild_goes_on_while_money_moves(client_of_each_store: Client) -> None:
    client = client_of_each_store
    account = await open_account(client)

    for generation in (2, 3, 4):
        await client.post("/v1/admin/projections/balances/rebuild")
        for _ in range(20):
            made = await client.post(f"/v1/accounts/{account}/deposits", {"money": money("1")})
        await rebuilt(client, "balances", generation)

    found = await client.get(f"/v1/accounts/{account}", made.position)
    assert found.json["balance"] == money("60.00")


async def test_a_rebuild_that_is_asked_for_twice_is_one(client: Client) -> None:
    await open_account(client, "5")

    answers = await asyncio.gather(*(client.post("/v1/admin/projections/balances/rebuild") for _ in range(5)))

    assert {answer.status for answer in answers} == {202}
    await rebuilt(client, "balances", 2)


async def test_a_rollback_makes_the_generation_before_live_again(client: Client) -> None:
    account = await open_account(client, "5")
    await client.post("/v1/admin/projections/balances/rebuild")
    await rebuilt(client, "balances", 2)
    made = await client.post(f"/v1/accounts/{account}/deposits", {"money": money("1")})

    rolled_back = await client.post("/v1/admin/projections/balances/rollback")

    assert (rolled_back.status, rolled_back.json["live"], rolled_back.json["previous"]) == (200, 1, 2)
    assert (await client.get(f"/v1/accounts/{account}", made.position)).json["balance"] == money("6.00")


async def test_without_a_generation_before_there_is_no_rollback(client: Client) -> None:
    refused = await client.post("/v1/admin/projections/balances/rollback")

    assert (refused.status, refused.code) == (409, "no-rollback")


async def test_a_projection_may_be_named_with_its_module(client: Client) -> None:
    assert (await client.get("/v1/admin/projections/ledger.balances")).status == 200


@pytest.mark.parametrize("name", ["nothing", "ledger", "ledger.nothing", ".balances", "%00"])
async def test_an_unknown_projection_is_not_found(client: Client, name: str) -> None:
    for answer in (
        await client.get(f"/v1/admin/projections/{name}"),
        await client.post(f"/v1/admin/projections/{name}/rebuild"),
        await client.post(f"/v1/admin/projections/{name}/rollback"),
    ):
        assert (answer.status, answer.code) == (404, "projection-not-found")


async def test_what_was_answered_is_also_what_the_module_says_in_process(client: Client, bank: Bank) -> None:
    account = await open_account(client, "5")

    assert (await bank.balance(AccountId(account))).amount == "5.00"
