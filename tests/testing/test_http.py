"""HTTP in process."""

import asyncio
from typing import Any

import pytest

from craton.runtime.projections import live_view
from craton.testing import HttpClient, run
from tests.testing.workshop import RepairId, Workshop, app


async def test_a_value_is_sent_as_json_and_the_answer_is_read_as_json() -> None:
    async with run(app) as running:
        http = running.http("chief-master")

        made = await http.post("/repairs", {"owner": "Ann"})
        shown = await http.get(made.headers["location"], made.position)

        assert (made.status, shown.status) == (201, 200)
        assert shown.json == {"id": made.json["id"], "owner": "Ann", "done": False, "reminders": 0}


async def test_without_a_token_a_caller_is_a_stranger() -> None:
    async with run(app) as running:
        refused = await running.http().post("/repairs", {"owner": "Ann"})
        wrong = await running.http("chief").post("/repairs", {"owner": "Ann"})
        cook = await running.http().with_token("ann-cook").post("/repairs", {"owner": "Ann"})

        assert [answer.status for answer in (refused, wrong, cook)] == [401, 401, 403]
        assert cook.code == "access-denied"


async def test_a_problem_has_a_code_and_what_is_no_problem_has_none() -> None:
    async with run(app) as running:
        http = running.http("chief-master")
        unknown = await http.get(f"/repairs/{RepairId.new()}")
        blank = await http.post("/repairs", {"owner": ""})
        made = await http.post("/repairs", {"owner": "Ann"})

        assert [(answer.status, answer.code) for answer in (unknown, blank)] == [
            (404, "row-not-found"),
            (422, "blank-owner"),
        ]
        with pytest.raises(AssertionError, match="the answer is no problem: 201"):
            assert made.code


async def test_the_position_makes_a_request_wait_for_what_another_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_view, "VIEW_WAIT_SECONDS", 0.1)
    async with run(app, subscriptions=False) as running:
        http = running.http("chief-master")
        made = await http.post("/repairs", {"owner": "Ann"})

        assert made.position == {"Craton-Position": "workshop=1"}
        assert (await http.get(made.headers["location"])).status == 404
        assert (await http.get(made.headers["location"], made.position)).status == 503


async def test_bytes_headers_and_the_query_go_as_they_are() -> None:
    async with run(app) as running:
        echoed = await running.http().put(
            "/echo/a%20b?x=1&y=%20", b"\x00\xff", {"X-Said": "hey", "Content-Type": "x/y"}
        )

        assert (echoed.status, echoed.body) == (200, b"a b\x00\xff")
        assert (echoed.headers["x-echo"], echoed.headers["x-query"]) == ("hey", "x=1&y=%20")
        assert echoed.headers["x-type"] == "x/y"


async def test_a_request_may_be_without_a_body_and_of_any_method() -> None:
    async with run(app) as running:
        http = running.http()

        assert (await http.put("/echo/a")).body == b"a"
        assert (await http.delete("/echo/a")).status == 405
        assert (await http.request("HEAD", "/stream")).status == 200


async def test_an_answer_that_comes_in_parts_is_put_together() -> None:
    async with run(app) as running:
        assert (await running.http().get("/stream")).body == b"one two three"


async def test_an_application_that_waits_for_the_end_of_the_connection_is_told_after_its_answer() -> None:
    told: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        async def listen() -> None:
            for _ in range(2):
                told.append((await receive())["type"])

        listening = asyncio.create_task(listen())
        await asyncio.sleep(0.01)
        told.append("answer")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        await listening

    await HttpClient(application).get("/")

    assert told == ["http.request", "answer", "http.disconnect"]


async def test_a_client_s_own_headers_go_with_each_request() -> None:
    async with run(app) as running:
        http = HttpClient(running.http().application, {"X-Said": "each time"})

        for _ in range(2):
            assert (await http.put("/echo/a")).headers["x-echo"] == "each time"
        assert (await http.put("/echo/a", headers={"X-Said": "once"})).headers["x-echo"] == "once"


async def test_what_was_asked_over_http_is_seen_in_process() -> None:
    async with run(app) as running:
        made = await running.http("chief-master").post("/repairs", {"owner": "Ann"})

        assert (await running.api(Workshop).repair(RepairId(made.json["id"]))).owner == "Ann"
