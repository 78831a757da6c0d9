"""The routes of operators: which roles they are open to, what they answer, and what they refuse."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote

import msgspec
import pytest

from craton.application.sagas.state import Status
from craton.domain import Secret
from craton.ports import Changeset, Timer
from craton.runtime.committer import write_alone
from tests.conftest import Place, SqlitePlace
from tests.door.standing_open import Door, door
from tests.http.client import Client, Response
from tests.http.conftest import served
from tests.kernel.jars import JarId, Jars, Totals, caught_up, jars
from tests.kernel.office import Expedition, Office, opened, tours
from tests.kernel.operators import NOON, SafeId, Safes, park, safes
from tests.kernel.travel import SoldOut, Weather

ADMIN: Final = {"Authorization": "Bearer admin"}
MEMBER: Final = {"Authorization": "Bearer member"}


class Route(msgspec.Struct, frozen=True):
    """A request of an operator, and the status with which it succeeds; `{saga}` and `{jar}` stand for what there is."""

    method: str
    path: str
    status: int
    body: dict[str, Any] | None = None


ROUTES: Final = (
    Route("GET", "/v1/admin/readers", 200),
    Route("GET", "/v1/admin/projections", 200),
    Route("GET", "/v1/admin/projections/totals", 200),
    Route("POST", "/v1/admin/projections/totals/rebuild", 202),
    Route("POST", "/v1/admin/projections/totals/rollback", 200),
    Route("GET", "/v1/admin/parked", 200),
    Route("POST", "/v1/admin/parked/retry", 202, {"module": "jars"}),
    Route("POST", "/v1/admin/parked/drop", 202, {"module": "jars"}),
    Route("GET", "/v1/admin/timers", 200),
    Route("POST", "/v1/admin/timers/jars/t1/retry", 204),
    Route("POST", "/v1/admin/timers/jars/t1/drop", 204),
    Route("GET", "/v1/admin/leases", 200),
    Route("GET", "/v1/admin/events", 200),
    Route("GET", "/v1/admin/streams/jar-{jar}", 200),
    Route("GET", "/v1/admin/audit", 200),
    Route("GET", "/v1/sagas", 200),
    Route("GET", "/v1/sagas/{saga}", 200),
    Route("GET", "/v1/sagas/{saga}/events", 200),
    Route("POST", "/v1/sagas/{saga}/retry", 204, {"reason": "why"}),
    Route("POST", "/v1/sagas/{saga}/skip", 204, {"reason": "why", "step": "base"}),
    Route("POST", "/v1/sagas/{saga}/resolve", 204, {"note": "why"}),
)
COMMANDS: Final = tuple(route for route in ROUTES if route.method == "POST")
QUESTIONS: Final = tuple(route for route in ROUTES if route.method == "GET")


class Service(msgspec.Struct, frozen=True):
    """A service behind a socket, with a jar, a safe and a saga that is stuck."""

    office: Office
    client: Client
    names: dict[str, str]

    async def ask(self, route: Route, headers: dict[str, str] | None = None) -> Response:
        path = route.path.format(**self.names)
        if route.method == "GET":
            return await self.client.get(path, headers)
        return await self.client.post(path, route.body, headers)

    async def get(self, path: str) -> Response:
        return await self.client.get(path.format(**self.names), ADMIN)

    async def post(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Response:
        return await self.client.post(path.format(**self.names), body, {**ADMIN, **(headers or {})})

    async def reasons(self) -> list[str]:
        """Why operators have done what they did, oldest first."""
        return [entry["reason"] for entry in reversed((await self.get("/v1/admin/audit")).json["items"])]


@asynccontextmanager
async def service_at(place: Place, **options: Any) -> AsyncIterator[Service]:
    weather = Weather()
    modules = [tours(Expedition), jars(Totals), safes(), door]
    async with opened(place, weather, *modules, authenticate=Door.authenticate, **options) as office:
        app, jar, safe = office.app, JarId.new(), SafeId.new()
        weather.plan("top", SoldOut())
        weather.plan("undo base", SoldOut())
        saga = await office.begin()
        await office.at_rest(saga, Status.STUCK)
        await app.api(Jars).put(jar, 1)
        await app.api(Jars).put(jar, 2)
        await app.api(Safes).set_code(safe, "Ada", Secret("sesame"))
        await app.running["jars"].projections["totals"].rebuild()
        await caught_up(app)
        store = app.running["jars"].store
        await write_alone(store, Changeset(timers=[Timer("t1", NOON, "put", "{}", "{}", parked=True)]))
        await park(store, "totals@2", 2, "a")
        async with served(app) as client:
            yield Service(office, client, {"jar": jar, "saga": saga, "safe": safe})


@pytest.fixture
async def service(sqlite_place: SqlitePlace) -> AsyncIterator[Service]:
    async with service_at(sqlite_place) as service:
        yield service


class TestRoles:
    @pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
    async def test_an_operator_may_do_it(self, service: Service, route: Route) -> None:
        answer = await service.ask(route, ADMIN)

        assert answer.status == route.status, answer.body

    async def test_a_stranger_is_asked_for_a_token(self, service: Service) -> None:
        for route in ROUTES:
            answer = await service.ask(route)
            assert (answer.status, answer.code) == (401, "unauthenticated"), route

        assert await service.reasons() == []

    async def test_a_member_is_refused(self, service: Service) -> None:
        for route in ROUTES:
            answer = await service.ask(route, MEMBER)
            assert (answer.status, answer.code) == (403, "access-denied"), route

        assert await service.reasons() == []

    async def test_the_app_says_which_roles_are_operators(self, sqlite_place: SqlitePlace) -> None:
        async with service_at(sqlite_place, operators=("support", "night-watch")) as service:
            for route in QUESTIONS:
                for role, status in (("support", 200), ("night-watch", 200), ("admin", 403)):
                    answer = await service.ask(route, {"Authorization": f"Bearer {role}"})
                    assert answer.status == status, (route, role)
            for route in COMMANDS:
                assert (await service.ask(route, ADMIN)).status == 403, route
            drop = COMMANDS[3]
            assert (await service.ask(drop, {"Authorization": "Bearer night-watch"})).status == 202


class TestWhatIsAnswered:
    async def test_a_rebuild_says_where_it_can_be_watched(self, service: Service) -> None:
        accepted = await service.post("/v1/admin/projections/totals/rebuild", {"reason": "a bug is gone"})

        assert (accepted.status, accepted.headers["location"]) == (202, "/v1/admin/projections/jars.totals")
        assert (await service.get(accepted.headers["location"])).json["projection"] == "totals"
        assert await service.reasons() == ["a bug is gone"]

    @pytest.mark.parametrize("route", COMMANDS, ids=lambda route: route.path)
    async def test_a_command_says_how_far_the_log_is_and_says_so_again_under_its_key(
        self, service: Service, route: Route
    ) -> None:
        key = {**ADMIN, "Idempotency-Key": "k-1"}
        first, again = await service.ask(route, key), await service.ask(route, key)

        module = "tours" if "sagas" in route.path else "jars"
        assert first.headers["craton-position"].startswith(f"{module}=")
        assert "idempotency-replayed" not in first.headers
        assert again.headers["idempotency-replayed"] == "true"
        assert (again.status, again.body, again.position) == (first.status, first.body, first.position)
        assert again.headers.get("location") == first.headers.get("location")
        assert len(await service.reasons()) == 1

    async def test_a_key_that_is_used_for_another_request_is_refused(self, service: Service) -> None:
        key = {"Idempotency-Key": "k-1"}
        await service.post("/v1/admin/parked/drop", {"module": "jars"}, key)

        refused = await service.post("/v1/admin/parked/drop", {"module": "jars", "reason": "other"}, key)

        assert (refused.status, refused.code) == (422, "idempotency-key-reused")

    async def test_parked_events_are_listed_and_asked_to_be_dropped(self, service: Service) -> None:
        listed = (await service.get("/v1/admin/parked?module=jars&reader=totals@2&key=a")).json
        assert [(entry["reader"], entry["position"], entry["attempts"]) for entry in listed["items"]] == [
            ("totals@2", 2, 1)
        ]

        body = {"module": "jars", "reader": "totals@2", "key": "a", "position": 2, "reason": "a ghost"}
        accepted = await service.post("/v1/admin/parked/drop", body)

        assert accepted.json == {"events": 1, "more": False}
        (entry,) = (await service.get("/v1/admin/parked")).json["items"]
        assert entry["request"] == "drop"
        assert await service.reasons() == ["a ghost"]

    async def test_timers_and_leases_are_listed(self, service: Service) -> None:
        timers = (await service.get("/v1/admin/timers?parked=true&module=jars")).json["items"]
        leases = (await service.get("/v1/admin/leases?module=jars")).json

        assert [(timer["id"], timer["parked"], timer["operation"]) for timer in timers] == [("t1", True, "put")]
        assert (await service.get("/v1/admin/timers?parked=false&module=jars")).json["items"] == []
        assert {lease["module"] for lease in leases} == {"jars"}

    async def test_events_are_listed_newest_first_in_pages(self, service: Service) -> None:
        first = (await service.get("/v1/admin/events?module=jars&type=CoinPut&limit=1")).json
        after = quote(first["next"])
        second = (await service.get(f"/v1/admin/events?module=jars&type=CoinPut&limit=1&after={after}")).json

        assert [event["data"] for event in first["events"] + second["events"]] == [{"amount": 2}, {"amount": 1}]

    async def test_events_are_those_of_a_time(self, service: Service) -> None:
        newest, oldest = (await service.get("/v1/admin/events?stream=jar-{jar}")).json["events"]

        until = (await service.get(f"/v1/admin/events?stream=jar-{{jar}}&to={quote(newest['time'])}")).json["events"]
        since = (await service.get(f"/v1/admin/events?stream=jar-{{jar}}&from={quote(newest['time'])}")).json["events"]

        assert (until, since) == ([oldest], [newest])

    async def test_a_stream_is_shown_as_it_was_without_its_secrets(self, service: Service) -> None:
        jar = (await service.get("/v1/admin/streams/jar-{jar}?version=2")).json
        safe = await service.get("/v1/admin/streams/safe-{safe}")

        assert jar["changed"] == {"coins": {"before": 1, "after": 3}}
        assert (safe.json["state"]["code"], b"sesame" in safe.body) == ("***", False)
        assert (await service.get(f"/v1/admin/streams/jar-{{jar}}?at={quote(jar['event']['time'])}")).json == jar


class TestBadInput:
    @pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
    async def test_a_query_field_that_there_is_not_is_refused(self, service: Service, route: Route) -> None:
        answer = await service.ask(msgspec.structs.replace(route, path=f"{route.path}?colour=red"), ADMIN)

        refused_in_a_sentence(answer)
        assert "colour" in answer.body.decode()
        assert await service.reasons() == []

    @pytest.mark.parametrize(
        "path",
        [
            *("events?limit=0", "events?limit=201", "events?limit=x", "events?limit=-1", "events?limit="),
            *("events?after=x", "events?after=jars:0", f"events?after=jars:{2**64}", "events?after=shop:1"),
            *("events?module=shop", "events?from=yesterday", "events?to=2026-01-31"),
            *("streams/jar-{jar}?version=0", "streams/jar-{jar}?version=x", "streams/jar-{jar}?version=-1"),
            *(f"streams/jar-{{jar}}?version={2**31}", "streams/jar-{jar}?version=9", "streams/jar-{jar}?at=noon"),
            *("streams/jar-{jar}?at=2020-01-01T00:00:00Z", "streams/jar-{jar}?module=shop", "streams/nothing"),
            *("streams/jar-1", "streams/operator_log-all", "parked?module=shop", "timers?module=shop"),
            *("timers?parked=perhaps", "leases?module=shop", "audit?module=shop", "projections/nothing"),
            *("streams/%00", "streams/jar-%00", "events?stream=%00", "events?actor=%00", "parked?reader=%00"),
            *("parked?module=%00", "events?type=%00", "events?correlation=%00", "events?after=%00"),
        ],
    )
    async def test_a_question_that_makes_no_sense_is_refused(self, service: Service, path: str) -> None:
        refused_in_a_sentence(await service.get(f"/v1/admin/{path}"))

    @pytest.mark.parametrize("verb", ["retry", "drop"])
    @pytest.mark.parametrize(
        "body",
        [
            *(None, {}, [], b"{", {"module": None}, {"module": 1}, {"module": "shop"}, {"module": "jars", "more": 1}),
            *({"module": "jars", "position": "x"}, {"module": "jars", "position": 1.5}, {"module": "jars", "key": 1}),
            *({"module": "jars", "reader": "nothing"}, {"module": "jars", "reader": "\0"}),
            *({"module": "jars", "position": 2**70}, {"module": "jars", "reason": "\0"}),
            *({"module": "jars", "reason": "x" * 5_001}, {"module": "jars", "reason": None}),
        ],
        ids=lambda body: str(body)[:40],
    )
    async def test_a_request_for_parked_events_that_makes_no_sense_is_refused(
        self, service: Service, verb: str, body: Any
    ) -> None:
        refused_in_a_sentence(await service.post(f"/v1/admin/parked/{verb}", body))

        assert await service.reasons() == []
        assert [entry["request"] for entry in (await service.get("/v1/admin/parked")).json["items"]] == [""]

    @pytest.mark.parametrize("timer", ["shop/t1", "jars/t2", "jars/%00", "tours/t1"])
    async def test_a_timer_that_is_not_parked_is_not_found(self, service: Service, timer: str) -> None:
        for verb in ("retry", "drop"):
            answer = await service.post(f"/v1/admin/timers/{timer}/{verb}")
            assert answer.status == 404
            refused_in_a_sentence(answer)


def refused_in_a_sentence(answer: Response) -> None:
    assert 400 <= answer.status < 500, (answer.status, answer.body)
    assert answer.code
    assert answer.json["detail"].endswith("."), answer.json


async def test_the_description_has_the_routes(service: Service) -> None:
    document = (await service.client.get("/openapi.json")).json

    for route in ROUTES:
        path = route.path.replace("/totals", "/{name}").replace("/jars/t1", "/{module}/{timer}")
        path = path.replace("jar-{jar}", "{stream}")
        operation = document["paths"][path][route.method.lower()]
        assert str(route.status) in operation["responses"], path
        assert operation["summary"], path
    assert "post" in document["paths"]["/v1/sagas/{saga}/compensate"]
