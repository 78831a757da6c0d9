"""ETag and If-Match guard against lost updates; Craton-Position makes a client read its own writes."""

import asyncio
import time

import pytest

from craton.runtime.projections.live_view import VIEW_WAIT_SECONDS
from tests.http.calls import money, open_account, shown
from tests.http.client import Client
from tests.http.conftest import served
from tests.market.bank import BankPlace


async def test_an_account_carries_its_version_as_etag(client: Client) -> None:
    account = await open_account(client, "5")

    found = await client.get(f"/v1/accounts/{account}")

    assert found.headers["etag"] == '"2"'
    assert found.json["version"] == 2


async def test_a_hold_carries_its_version_as_etag(client: Client) -> None:
    source, target = await open_account(client, "10"), await open_account(client)
    body = {"source": source, "target": target, "money": money("4"), "pending": True}
    hold = await client.post("/v1/transfers", body)

    found = await client.get(hold.headers["location"], hold.position)

    assert found.headers.get("etag") == '"1"'


async def test_a_command_that_knows_the_newest_version_is_carried_out(client: Client) -> None:
    account = await open_account(client, "5")
    etag = (await client.get(f"/v1/accounts/{account}")).headers["etag"]

    made = await client.post(f"/v1/accounts/{account}/deposits", {"money": money("1")}, {"If-Match": etag})

    assert made.status == 201


async def test_a_command_that_knows_an_older_version_is_refused(client_of_each_store: Client) -> None:
    client = client_of_each_store
    account = await open_account(client, "5")
    etag = (await client.get(f"/v1/accounts/{account}")).headers["etag"]
    await client.post(f"/v1/accounts/{account}/deposits", {"money": money("1")})

    stale = await client.post(f"/v1/accounts/{account}/withdrawals", {"money": money("1")}, {"If-Match": etag})

    assert (stale.status, stale.code, stale.json["details"]) == (412, "stale-version", {"current": 3})
    assert (await client.get(f"/v1/accounts/{account}/events")).json["total"] == 3


async def test_of_many_that_know_the_same_version_one_is_carried_out(client_of_each_store: Client) -> None:
    client = client_of_each_store
    account = await open_account(client, "50")
    etag = (await client.get(f"/v1/accounts/{account}")).headers["etag"]

    answers = await asyncio.gather(
        *(
            client.post(f"/v1/accounts/{account}/withdrawals", {"money": money("1")}, {"If-Match": etag})
            for _ in range(20)
        )
    )

    statuses = [answer.status for answer in answers]
    assert (statuses.count(201), statuses.count(412)) == (1, 19)


async def test_a_star_accepts_every_version(client: Client) -> None:
    account = await open_account(client, "5")

    made = await client.post(f"/v1/accounts/{account}/deposits", {"money": money("1")}, {"If-Match": "*"})

    assert made.status == 201


@pytest.mark.parametrize("etag", ['"x"', '""', '"-1"', '"99999999999999999999"', '"²"'])
async def test_an_etag_that_never_was_one_is_refused(client: Client, etag: str) -> None:
    account = await open_account(client, "5")

    refused = await client.post(f"/v1/accounts/{account}/deposits", {"money": money("1")}, {"If-Match": etag})

    assert refused.status in (400, 412)


async def test_every_changing_call_answers_with_a_position(client: Client) -> None:
    one, two = await open_account(client, "10"), await open_account(client)
    body = {"source": one, "target": two, "money": money("1")}

    hold = await client.post("/v1/transfers", {**body, "pending": True})
    answers = [
        hold,
        await client.post(f"{hold.headers['location']}/post"),
        await client.post("/v1/transfers", body),
        await client.post("/v1/transfers/batch", {"transfers": [body]}),
        await client.post(f"/v1/accounts/{two}/withdrawals", {"money": money("3")}),
        await client.post(f"/v1/accounts/{two}/close", {"reason": "x"}),
    ]

    positions = [int(answer.headers["craton-position"].removeprefix("ledger=")) for answer in answers]
    assert positions == sorted(set(positions))


async def test_a_read_with_the_position_of_a_write_sees_it(client_of_each_store: Client) -> None:
    client = client_of_each_store
    account = await open_account(client)

    for n in range(1, 21):
        made = await client.post(f"/v1/accounts/{account}/deposits", {"money": money("1")})
        assert (await shown(client, account, made.position))["balance"] == money(f"{n}.00")
        entries = await client.get(f"/v1/accounts/{account}/entries", made.position)
        assert entries.json["total"] == n


@pytest.fixture
def short_wait(monkeypatch: pytest.MonkeyPatch) -> float:
    """How long a view is waited for, so that no test needs to wait as long as users may have to."""
    monkeypatch.setattr("craton.runtime.projections.live_view.VIEW_WAIT_SECONDS", 0.3)
    return 0.3


async def test_a_position_that_is_not_reached_is_waited_for_five_seconds_and_no_longer(
    client: Client, short_wait: float
) -> None:
    account = await open_account(client)
    started = time.monotonic()

    refused = await client.get(f"/v1/accounts/{account}", {"Craton-Position": "ledger=999999"})

    assert (refused.status, refused.code) == (503, "unavailable")
    assert int(refused.headers["retry-after"]) >= 1
    assert time.monotonic() - started >= short_wait
    assert VIEW_WAIT_SECONDS == 5


async def test_a_position_that_is_reached_meanwhile_is_answered(client: Client) -> None:
    account = await open_account(client)
    made = await client.post(f"/v1/accounts/{account}/deposits", {"money": money("1")})
    ahead = int(made.headers["craton-position"].removeprefix("ledger=")) + 2

    waiting = asyncio.create_task(client.get(f"/v1/accounts/{account}", {"Craton-Position": f"ledger={ahead}"}))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await client.post(f"/v1/accounts/{account}/deposits", {"money": money("1")})

    assert (await waiting).json["balance"] == money("2.00")


@pytest.mark.usefixtures("short_wait")
async def test_a_view_that_is_not_updated_is_unavailable_rather_than_old(place: BankPlace) -> None:
    async with place.open(subscriptions=False) as bank, served(bank.app) as client:
        opened = await client.post("/v1/accounts", {"owner": "Ada", "currency": "EUR"})

        refused = await client.get(opened.headers["location"], opened.position)

        assert (refused.status, refused.code) == (503, "unavailable")


async def test_the_position_of_another_module_is_not_waited_for(client: Client) -> None:
    account = await open_account(client)

    assert (await client.get(f"/v1/accounts/{account}", {"Craton-Position": "ordering=999999"})).status == 200


@pytest.mark.parametrize("position", ["5", "ledger", "ledger=", "ledger=x", "=5", "ledger=-1", "ledger=5;x=1"])
async def test_a_malformed_position_is_refused(client: Client, position: str) -> None:
    account = await open_account(client)

    refused = await client.get(f"/v1/accounts/{account}", {"Craton-Position": position})

    assert (refused.status, refused.code) == (400, "malformed-header")
