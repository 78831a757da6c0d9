"""Sagas over HTTP: how they stand, all that happened to them, and what operators may do to them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from craton.application.sagas.state import Status
from craton.testing import until
from tests.conftest import SqlitePlace
from tests.door.standing_open import Door, door, stands_open
from tests.http.client import Client
from tests.http.conftest import served
from tests.kernel.office import Expedition, Office, opened, tours
from tests.kernel.travel import SoldOut, TripId, Weather

NOBODY = "01a21c69-be90-7657-b2fa-76fa96db38a3"
ORDERS: dict[str, dict[str, Any]] = {
    "retry": {"reason": "why"},
    "skip": {"reason": "why", "step": "base"},
    "compensate": {"reason": "why"},
    "resolve": {"note": "why"},
}


@pytest.fixture
def weather() -> Weather:
    return Weather()


@pytest.fixture
async def office(sqlite_place: SqlitePlace, weather: Weather) -> AsyncIterator[Office]:
    async with opened(
        sqlite_place,
        weather,
        tours(Expedition),
        door,
        authenticate=Door.authenticate,
        middleware=[stands_open],
    ) as office:
        yield office


@pytest.fixture
async def client(office: Office) -> AsyncIterator[Client]:
    async with served(office.app) as client:
        yield client


@pytest.fixture
async def stuck(office: Office, weather: Weather) -> TripId:
    """A saga whose base can't be undone."""
    weather.plan("top", SoldOut())
    weather.plan("undo base", SoldOut())
    trip = await office.begin()
    await office.at_rest(trip, Status.STUCK)
    return trip


async def test_a_saga_is_shown_step_by_step(client: Client, stuck: TripId) -> None:
    shown = await client.get(f"/v1/sagas/{stuck}")

    assert (shown.status, shown.json["status"], shown.json["note"]) == (200, "stuck", "base can't be undone")
    assert [(step["name"], step["status"]) for step in shown.json["steps"]] == [
        ("base", "undo-failed"),
        ("left", "undone"),
        ("right", "undone"),
        ("top", "refused"),
        ("home", "idle"),
    ]
    assert shown.headers["etag"] == f'"{shown.json["version"]}"'


async def test_all_that_happened_to_it_is_listed_newest_first(client: Client, stuck: TripId) -> None:
    page = (await client.get(f"/v1/sagas/{stuck}/events?page_size=2")).json

    assert (len(page["items"]), page["items"][0]["type"], page["page_size"]) == (2, "SagaStuck", 2)
    assert page["items"][0]["version"] == page["total"]


async def test_sagas_are_listed_newest_first_in_pages(client: Client, office: Office) -> None:
    trips = [await office.begin() for _ in range(5)]
    for trip in trips:
        await office.at_rest(trip, Status.COMPLETED)

    async def all_are_listed() -> bool:
        return bool((await client.get("/v1/sagas?status=completed")).json["total"] == 5)

    await until(all_are_listed)

    listed = [saga["id"] async for saga in client.pages("/v1/sagas", 2)]

    assert listed == list(reversed(trips))


async def test_sagas_are_listed_by_status(client: Client, office: Office, stuck: TripId) -> None:
    await office.at_rest(await office.begin(), Status.COMPLETED)

    async def those_that_are_stuck() -> Any:
        return (await client.get("/v1/sagas?status=stuck")).json["items"]

    found = await until(those_that_are_stuck)

    assert [saga["id"] for saga in found] == [stuck]


async def test_what_is_stuck_is_tried_again(client: Client, office: Office, stuck: TripId) -> None:
    answer = await client.post(f"/v1/sagas/{stuck}/retry", {"reason": "it is open again"})

    assert (answer.status, answer.body) == (204, b"")
    await office.at_rest(stuck, Status.COMPENSATED)


async def test_a_step_is_skipped(client: Client, office: Office, stuck: TripId) -> None:
    answer = await client.post(f"/v1/sagas/{stuck}/skip", {"step": "base", "reason": "it is torn down"})

    assert answer.status == 204
    await office.at_rest(stuck, Status.COMPENSATED)


async def test_a_saga_is_turned_round(client: Client, office: Office, weather: Weather) -> None:
    weather.plan("top", asyncio.Event())
    trip = await office.begin()
    await weather.called("top")

    answer = await client.post(f"/v1/sagas/{trip}/compensate", {"reason": "there is a storm"})

    assert answer.status == 204
    assert (await office.at_rest(trip, Status.COMPENSATED)).reason == "there is a storm"


async def test_a_saga_is_resolved(client: Client, stuck: TripId) -> None:
    answer = await client.post(f"/v1/sagas/{stuck}/resolve", {"note": "she was paid"})

    assert answer.status == 204
    shown = (await client.get(f"/v1/sagas/{stuck}")).json
    assert (shown["status"], shown["note"]) == ("resolved", "she was paid")


async def test_an_order_that_is_repeated_with_its_key_is_carried_out_once(client: Client, stuck: TripId) -> None:
    key = {"Idempotency-Key": "once"}
    answers = [await client.post(f"/v1/sagas/{stuck}/resolve", {"note": "she was paid"}, key) for _ in range(2)]

    assert [answer.status for answer in answers] == [204, 204]
    assert "idempotency-replayed" not in answers[0].headers
    assert answers[1].headers["idempotency-replayed"] == "true"


async def test_a_key_that_is_used_for_another_order_is_refused(client: Client, stuck: TripId) -> None:
    key = {"Idempotency-Key": "once"}
    await client.post(f"/v1/sagas/{stuck}/resolve", {"note": "she was paid"}, key)

    other = await client.post(f"/v1/sagas/{stuck}/resolve", {"note": "she was not"}, key)

    assert (other.status, other.code) == (422, "idempotency-key-reused")


async def test_an_order_for_a_version_that_is_past_is_refused(client: Client, stuck: TripId) -> None:
    stale = await client.post(f"/v1/sagas/{stuck}/resolve", {"note": "late"}, {"If-Match": '"1"'})

    assert (stale.status, stale.code) == (412, "stale-version")


async def test_a_saga_that_has_ended_takes_no_orders(client: Client, stuck: TripId) -> None:
    await client.post(f"/v1/sagas/{stuck}/resolve", {"note": "done"})

    for verb, body in ORDERS.items():
        answer = await client.post(f"/v1/sagas/{stuck}/{verb}", body)
        assert (answer.status, answer.code) == (409, "saga-ended"), verb


async def test_an_unknown_saga_is_not_found(client: Client) -> None:
    answers = [await client.get(f"/v1/sagas/{NOBODY}"), await client.get(f"/v1/sagas/{NOBODY}/events")]
    answers += [await client.post(f"/v1/sagas/{NOBODY}/{verb}", body) for verb, body in ORDERS.items()]

    assert {(answer.status, answer.code) for answer in answers} == {(404, "saga-not-found")}


@pytest.mark.parametrize("id", ["nonsense", "1", "%00", "%F0%9F%92%A3", "x" * 1000, f"{NOBODY}0", NOBODY.upper()])
async def test_a_malformed_id_is_refused(client: Client, id: str) -> None:
    answers = [await client.get(f"/v1/sagas/{id}"), await client.get(f"/v1/sagas/{id}/events")]
    answers += [await client.post(f"/v1/sagas/{id}/{verb}", body) for verb, body in ORDERS.items()]

    assert {answer.status for answer in answers} == {422}


NO_ORDER: tuple[Any, ...] = (b"{", b"[]", b"null", b"\xff", {}, {"why": "?"}, 7)
WRONG: dict[str, tuple[dict[str, Any], ...]] = {
    "retry": ({"reason": None}, {"reason": "\0"}, {"reason": "x" * 6000}),
    "skip": (
        {"step": "nothing", "reason": "why"},
        {"step": "base\0", "reason": "why"},
        {"step": "base", "reason": "why", "value": []},
        {"step": "base", "reason": "why", "value": {"nothing": 1}},
        {"step": "base", "reason": "why", "value": {"trip": 1}},
        {"step": "base", "reason": "why", "value": {"trip": "nowhere"}},
    ),
    "compensate": ({"reason": 1},),
    "resolve": ({"note": []},),
}


@pytest.mark.parametrize("verb", ORDERS)
async def test_a_body_that_does_not_fit_is_refused_and_changes_nothing(
    client: Client, office: Office, stuck: TripId, verb: str
) -> None:
    before = await office.saga(stuck)

    for body in (*NO_ORDER, *WRONG[verb], {**ORDERS[verb], "extra": 1}):
        answer = await client.post(f"/v1/sagas/{stuck}/{verb}", body)
        assert 400 <= answer.status < 500, body
        assert answer.code

    assert await office.saga(stuck) == before


async def test_an_unknown_status_is_refused(client: Client) -> None:
    assert (await client.get("/v1/sagas?status=asleep")).status == 422


@pytest.mark.parametrize("query", ["page=0", "page=-1", "page=x", "page_size=0", "page_size=1000000", "page=999999999"])
async def test_a_malformed_page_number_is_no_error(client: Client, stuck: TripId, query: str) -> None:
    assert (await client.get(f"/v1/sagas?{query}")).status == 200
    assert (await client.get(f"/v1/sagas/{stuck}/events?{query}")).status == 200


async def test_the_description_with_sagas_is_valid_openapi_3_1(client: Client) -> None:
    document = (await client.get("/openapi.json")).json

    OpenAPIV31SpecValidator(document).validate()
    assert {f"/v1/sagas/{{saga}}/{verb}" for verb in ORDERS} <= document["paths"].keys()


@pytest.mark.parametrize(("verb", "body"), [("retry", {"reason": " "}), ("resolve", {"note": ""})])
async def test_an_operator_must_give_a_reason(client: Client, stuck: TripId, verb: str, body: dict[str, str]) -> None:
    answer = await client.post(f"/v1/sagas/{stuck}/{verb}", body)

    assert (answer.status, answer.code) == (422, "blank-reason")
    assert (await client.get(f"/v1/sagas/{stuck}")).json["status"] == "stuck"
