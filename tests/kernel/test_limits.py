"""A route may have a limit: so many requests in a time for each caller or address, over all processes together."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from craton.adapters.http import asgi
from craton.application import Api, Caller, Limit, Module, Routes, get, per_minute, post, public, query
from craton.application.errors import WiringError
from craton.ports import Query, Store
from craton.runtime import App
from craton.runtime.limits import LIMITS, Limits, Taken
from craton.testing import TurnedClock
from craton.testing.http import HttpClient, Response
from tests.conftest import Place

FIVE = per_minute(5, by="caller")


class Desk(Api):
    @query
    async def greet(self) -> str:
        """Say hello."""

    @query
    async def knock(self) -> str:
        """Knock at the door, from outside."""

    @query
    async def who(self, token: str) -> Caller:
        """Find the caller."""


class DeskService(Desk):
    async def greet(self) -> str:
        return "hello"

    async def knock(self) -> str:
        return "come in"

    async def who(self, token: str) -> Caller:
        return Caller(token, frozenset())


DESK = Module(
    "desk",
    api=Desk,
    service=DeskService,
    routes=Routes(
        get("/greeting", Desk.greet, limit=FIVE),
        get("/door", Desk.knock, access=public, limit=per_minute(5, by="address")),
    ),
)


@asynccontextmanager
async def desk(place: Place, clock: TurnedClock) -> AsyncIterator[HttpClient]:
    app = App("desk", modules=[DESK], authenticate=Desk.who, clock=clock, environment={})
    async with app.run(place):
        yield HttpClient(asgi(app))


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock(datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC))


async def many(client: HttpClient, times: int, path: str = "/greeting") -> list[Response]:
    return [await client.get(path) for _ in range(times)]


async def test_requests_beyond_the_limit_are_refused_and_told_when_to_come_again(
    place: Place, clock: TurnedClock
) -> None:
    async with desk(place, clock) as client:
        ada = client.with_token("ada")
        answers = await many(ada, 6)

    assert [answer.status for answer in answers] == [200] * 5 + [429]
    assert answers[0].headers["ratelimit-policy"] == '"default";q=5;w=60'
    assert [re.findall(r"r=(\d+)", answer.headers["ratelimit"]) for answer in answers] == [
        ["4"], ["3"], ["2"], ["1"], ["0"], ["0"]
    ]  # fmt: skip
    assert answers[-1].code == "too-many-requests"
    assert int(answers[-1].headers["retry-after"]) == 72  # when a fifth of them has left the window


async def test_each_caller_has_a_limit_of_its_own(place: Place, clock: TurnedClock) -> None:
    async with desk(place, clock) as client:
        await many(client.with_token("ada"), 6)

        (answer,) = await many(client.with_token("bob"), 1)

    assert answer.status == 200


async def test_strangers_are_counted_by_their_address(place: Place, clock: TurnedClock) -> None:
    async with desk(place, clock) as client:
        answers = await many(client, 6, "/door")

    assert [answer.status for answer in answers] == [200] * 5 + [429]


async def test_after_the_window_more_are_admitted_but_not_twice_as_many_around_its_end(
    place: Place, clock: TurnedClock
) -> None:
    async with desk(place, clock) as client:
        ada = client.with_token("ada")
        clock.turn(seconds=55)
        assert [answer.status for answer in await many(ada, 5)] == [200] * 5

        clock.turn(seconds=6)  # the next window has begun, and nearly all of the last minute lies in the one before
        assert [answer.status for answer in await many(ada, 2)] == [429] * 2

        clock.turn(seconds=120)
        assert [answer.status for answer in await many(ada, 5)] == [200] * 5


async def test_a_caller_that_waits_as_long_as_it_is_told_is_admitted(place: Place, clock: TurnedClock) -> None:
    async with desk(place, clock) as client:
        ada = client.with_token("ada")
        for _ in range(3):
            answers = await many(ada, 9)  # those that are refused don't count
            refused = [answer for answer in answers if answer.status == 429]
            assert refused
            clock.turn(seconds=int(refused[-1].headers["retry-after"]))

            assert (await ada.get("/greeting")).status == 200


async def test_several_processes_count_together(place: Place, clock: TurnedClock) -> None:
    async with desk(place, clock) as first, desk(place, clock) as second:
        answers = [await client.with_token("ada").get("/greeting") for _ in range(5) for client in (first, second)]

    assert sum(answer.status == 200 for answer in answers) == 5


async def test_counts_outlive_the_process(place: Place, clock: TurnedClock) -> None:
    async with desk(place, clock) as client:
        await many(client.with_token("ada"), 5)

    async with desk(place, clock) as client:
        answers = await many(client.with_token("ada"), 2)

    assert [answer.status for answer in answers] == [200, 429]  # a process counts by itself up to a quarter


async def test_a_caller_that_asks_seldom_costs_no_commit(store: Store, clock: TurnedClock) -> None:
    async def commit(_: object) -> int:
        raise AssertionError("something was written")

    limits = Limits(store, commit, lambda: clock.time)

    taken = [await limits.take("GET /x", Limit(100, 60, "caller"), "ada") for _ in range(25)]

    assert taken[-1] == Taken(is_admitted=True, remaining=75, seconds=60)


async def test_what_is_over_is_forgotten(place: Place, clock: TurnedClock) -> None:
    async with desk(place, clock) as client:
        await many(client.with_token("ada"), 5)
        await many(client.with_token("bob"), 5)
    app = App("desk", modules=[DESK], authenticate=Desk.who, clock=clock, environment={})
    async with app.run(place, subscriptions=False):
        limits, store = app.running["desk"].limits, app.running["desk"].store
        assert limits is not None
        clock.turn(minutes=1)
        await limits.forget()
        kept = await store.get_rows(LIMITS, await names(store))
        assert len(kept) == 2
        clock.turn(minutes=2)
        await limits.forget()

        assert await names(store) == []


async def names(store: Store) -> list[tuple[str]]:
    rows, _ = await store.find_rows(LIMITS, Query(limit=100))
    return [(row.split('"')[3],) for row in rows]


@pytest.mark.parametrize("count", [0, -1])
def test_a_limit_that_admits_nothing_is_refused(count: int) -> None:
    with pytest.raises(WiringError, match="would admit nothing"):
        per_minute(count, by="caller")


def test_a_limit_by_something_else_is_refused() -> None:
    with pytest.raises(WiringError, match="not by='user'"):
        Limit(1, 60, "user")  # type: ignore[arg-type]


async def test_a_handler_that_is_written_by_hand_can_not_have_one(place: Place) -> None:
    async def by_hand(request: object) -> None: ...

    routes = Routes(post("/by-hand", by_hand, access=public, limit=FIVE))
    app = App("desk", modules=[Module("desk", api=Desk, service=DeskService, routes=routes)], environment={})
    async with app.run(place):
        with pytest.raises(WiringError, match="only a route to an operation of the Api can have a limit"):
            asgi(app)
