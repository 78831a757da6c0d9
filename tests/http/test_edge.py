"""What every request gets, whatever it asks for and whatever it comes to."""

import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from craton.adapters.http import asgi, origins_of
from craton.adapters.stores import stores
from craton.application import (
    Api,
    Caller,
    Module,
    Repository,
    Routes,
    WiringError,
    command,
    context,
    get,
    post,
    public,
    put,
    query,
)
from craton.cli.load import set_up_logging
from craton.domain import Aggregate, Event, Id, Name, Unauthenticated, Value
from craton.runtime import App
from tests.http.client import Client
from tests.http.conftest import served

ANN = {"Authorization": "Bearer ann"}


class NoteId(Id):
    pattern = r"[a-z]{1,20}"


class Written(Event):
    text: Name


class Note(Aggregate[NoteId]):
    text: Name = Name("-")

    def apply(self, event: Written) -> None:
        self.text = event.text


class NoteView(Value):
    text: Name
    version: int


class Notes(Api):
    @query
    async def authenticate(self, token: str) -> Caller:
        """Who has a token."""

    @command
    async def write(self, note: NoteId, text: Name) -> None:
        """Write a note."""

    @query
    async def note(self, note: NoteId) -> NoteView:
        """A note."""

    @query
    async def my_note(self, note: NoteId) -> NoteView:
        """A note that not everybody may read."""

    @command
    async def sort(self, order: int = 0) -> str:
        """Put the notes in order."""


class NotesService(Notes):
    def __init__(self, notes: Repository[Note]) -> None:
        self._notes = notes

    async def authenticate(self, token: str) -> Caller:
        if token != "ann":  # noqa: S105
            raise Unauthenticated()
        return Caller("ann", frozenset())

    async def write(self, note: NoteId, text: Name) -> None:
        (await self._notes.find_or_add(note)).record(Written(text=text))

    async def note(self, note: NoteId) -> NoteView:
        found = await self._notes.get(note)
        return NoteView(text=found.text, version=found.version)

    async def my_note(self, note: NoteId) -> NoteView:
        return await self.note(note)

    async def sort(self, order: int = 0) -> str:
        return "sorted"


async def page(_: Request) -> Response:
    """A page."""
    return HTMLResponse("<p>hello</p>")


async def own_policy(_: Request) -> Response:
    """A page that says itself what it may load, and a cache that may keep it."""
    return HTMLResponse("hello", headers={"Content-Security-Policy": "default-src *", "Cache-Control": "max-age=60"})


async def fail(_: Request) -> Response:
    """A bug."""
    structlog.get_logger().warning("about to fail")
    raise KeyError("a secret of the program")


async def whose(_: Request) -> Response:
    """The id of the request."""
    return JSONResponse(context().id)


notes = Module(
    "notes",
    api=Notes,
    service=NotesService,
    routes=Routes(
        put("/notes/{note}", Notes.write, status=204, access=public),
        get("/notes/{note}", Notes.note, access=public),
        post("/notes/sorted", Notes.sort, access=public),
        get("/mine/{note}", Notes.my_note),
        get("/page", page, access=public),
        get("/own-policy", own_policy, access=public),
        get("/fail", fail, access=public),
        get("/whose", whose, access=public),
    ),
)


def marks(name: str) -> Callable[[Any], Any]:
    """Middleware that answers `/<name>` itself, raises for `/<name>/raise`, and marks all other answers."""

    def wrap(application: Any) -> Any:
        async def mark(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == f"/{name}":
                await JSONResponse(name)(scope, receive, send)
                return
            if scope["path"] == f"/{name}/raise":
                raise KeyError(name)

            async def marked(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message["headers"], (b"marked-by", name.encode())]
                await send(message)

            await application(dict(scope), receive, marked)

        return mark

    return wrap


Started = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def start(tmp_path: Path) -> Started:
    @asynccontextmanager
    async def started(**options: Any) -> AsyncIterator[Client]:
        app = App("edge", modules=[notes], authenticate=Notes.authenticate, environment={}, **options)
        async with app.run(stores("sqlite", tmp_path, "edge")), served(app) as client:
            await client.request("PUT", "/notes/a", b'{"text": "x"}', {"Content-Type": "application/json"})
            yield client

    return started


@pytest.fixture
async def client(start: Started) -> AsyncIterator[Client]:
    async with start() as client:
        yield client


async def test_an_unsupported_method_is_answered_with_the_supported_ones(client: Client) -> None:
    answer = await client.request("DELETE", "/notes/a")

    assert (answer.status, answer.code, answer.headers["allow"]) == (405, "method-not-allowed", "GET, HEAD, PUT")
    assert answer.json["detail"] == "This resource doesn't support DELETE; it supports GET, HEAD and PUT."


async def test_the_methods_of_a_path_are_those_of_all_routes_that_it_fits(client: Client) -> None:
    answer = await client.request("DELETE", "/notes/sorted")

    assert answer.headers["allow"] == "GET, HEAD, POST, PUT"
    assert (await client.post("/notes/sorted")).json == "sorted"
    assert (await client.get("/notes/sorted")).code == "aggregate-not-found"  # a note of that name


@pytest.mark.parametrize(
    "path",
    ["/notes/a", "/page", "/docs", "/openapi.json", "/health/live", "/health/ready", "/metrics", "/", "/whose"],
)
async def test_every_get_route_answers_head(client: Client, path: str) -> None:
    got, head = await client.get(path), await client.request("HEAD", path)

    assert (head.status, head.body) == (got.status, b"")
    assert head.headers.get("content-type") == got.headers.get("content-type")


@pytest.mark.parametrize("known", ['"1"', 'W/"1"', '"7", "1"', '"a,b" , W/"1"', "*"])
async def test_an_answer_that_the_caller_has_already_is_not_sent_again(client: Client, known: str) -> None:
    answer = await client.get("/notes/a", {"If-None-Match": known})

    assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", '"1"')


@pytest.mark.parametrize("known", ['"2"', 'W/"2"', '"2", "3"', '"one"', '"01"'])
async def test_an_answer_that_the_caller_does_not_have_is_sent(client: Client, known: str) -> None:
    assert (await client.get("/notes/a", {"If-None-Match": known})).status == 200


@pytest.mark.parametrize(
    ("seen", "status"),
    [('"1"', 204), ('"7", "1"', 204), ("*", 204), ('"2"', 412), ('W/"1"', 412), ('"one"', 412), ('W/"1", "7"', 412)],
)
async def test_a_command_may_name_several_versions_but_no_weak_one(client: Client, seen: str, status: int) -> None:
    headers = {"If-Match": seen, "Content-Type": "application/json"}

    assert (await client.request("PUT", "/notes/a", b'{"text": "y"}', headers)).status == status


@pytest.mark.parametrize("known", ["*", '"1"'])
async def test_a_command_with_if_none_match_is_refused(client: Client, known: str) -> None:
    headers = {"If-None-Match": known, "Content-Type": "application/json"}

    assert (await client.request("PUT", "/notes/a", b'{"text": "y"}', headers)).status == 400
    assert (await client.get("/notes/a")).json["text"] == "x"


REQUESTS = {
    "a query": ("GET", "/notes/a", 200),
    "not found": ("GET", "/nothing", 404),
    "no such method": ("DELETE", "/notes/a", 405),
    "a refusal": ("GET", "/notes/none", 404),
    "no token": ("GET", "/mine/a", 401),
    "a wrong value": ("GET", "/notes/A", 422),
    "a bug": ("GET", "/fail", 500),
    "a page": ("GET", "/page", 200),
    "health": ("GET", "/health/live", 200),
    "the docs": ("GET", "/docs", 200),
    "malformed": ("GET", "/notes/a HTTP/1.1\r\nno header", 400),
}


@pytest.mark.parametrize("kind", REQUESTS)
async def test_every_answer_has_its_own_id_and_may_not_be_sniffed(client: Client, kind: str) -> None:
    method, path, status = REQUESTS[kind]

    answers = [await client.request(method, path) for _ in range(2)]

    assert {answer.status for answer in answers} == {status}
    assert len({answer.headers["craton-request-id"] for answer in answers}) == 2
    assert {answer.headers["x-content-type-options"] for answer in answers} == {"nosniff"}


async def test_the_application_knows_the_request_by_its_id(client: Client) -> None:
    answer = await client.get("/whose")

    assert answer.json == answer.headers["craton-request-id"]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[StringIO]:
    """What a server logs, as it logs it."""
    written = StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    set_up_logging("info")
    yield written
    structlog.reset_defaults()


async def test_a_bug_is_answered_with_the_id_that_the_log_has(client: Client, log: StringIO) -> None:
    answer = await client.get("/fail")

    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    id = answer.headers["craton-request-id"]
    assert (answer.status, answer.json["request_id"]) == (500, id)
    assert "secret" not in str(answer.json)
    assert {line["event"]: line["correlation"] for line in lines} == {"about to fail": id, "a request failed": id}


@pytest.mark.parametrize(
    ("path", "headers", "kept"),
    [
        ("/notes/a", {}, "no-cache"),
        ("/notes/a", {"If-None-Match": '"1"'}, "no-cache"),
        ("/notes/none", {}, "no-store"),
        ("/mine/a", ANN, "no-store"),
        ("/mine/a", {}, "no-store"),
        ("/health/ready", {}, "no-store"),
        ("/metrics", {}, "no-store"),
        ("/openapi.json", {}, "no-cache"),
        ("/own-policy", {}, "max-age=60"),
    ],
)
async def test_answers_that_are_not_public_may_not_be_stored(
    client: Client, path: str, headers: dict[str, str], kept: str
) -> None:
    assert (await client.get(path, headers)).headers["cache-control"] == kept


async def test_a_page_loads_nothing_from_elsewhere_unless_it_says_so(client: Client) -> None:
    policy = (await client.get("/page")).headers["content-security-policy"]

    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert (await client.get("/own-policy")).headers["content-security-policy"] == "default-src *"


async def test_the_document_is_sent_once(client: Client) -> None:
    first = await client.get("/openapi.json")

    again = await client.get("/openapi.json", {"If-None-Match": first.headers["etag"]})

    assert (again.status, again.body) == (304, b"")
    assert (await client.get("/openapi.json", {"If-None-Match": '"other"'})).body == first.body


async def test_clients_can_not_invent_names_in_the_metrics(client: Client) -> None:
    for path in ("/page", "/nothing/at/all", "/fail"):
        await client.get(path)
    await client.request("DELETE", "/notes/a")
    await client.request("PROPFIND", "/made/up")

    lines = [line for line in (await client.get("/metrics")).body.decode().splitlines() if "requests_total{" in line]

    counted = {line.partition("{")[2].partition("}")[0] for line in lines}
    assert 'method="GET",route="/page",status="200"' in counted
    assert 'method="GET",route="/fail",status="500"' in counted
    assert 'method="GET",route="unmatched",status="404"' in counted
    assert 'method="DELETE",route="unmatched",status="405"' in counted
    assert 'method="other",route="unmatched",status="404"' in counted
    assert "made" not in str(counted)


class TestAnotherOrigin:
    SHOP = {"Origin": "https://shop.example.com"}  # noqa: RUF012
    ASKS = {**SHOP, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization,if-match"}  # noqa: RUF012

    async def test_may_not_use_the_application_from_a_browser(self, client: Client) -> None:
        asked = await client.request("OPTIONS", "/notes/a", headers=self.ASKS)
        got = await client.get("/notes/a", self.SHOP)

        assert "access-control-allow-origin" not in {**asked.headers, **got.headers}

    async def test_may_if_a_setting_names_it(self, start: Started, tmp_path: Path) -> None:
        app = App("shared", modules=[notes], authenticate=Notes.authenticate, environment={})
        async with app.run(stores("sqlite", tmp_path, "shared")), served(app, origins=(self.SHOP["Origin"],)) as client:
            asked = await client.request("OPTIONS", "/notes/a", headers=self.ASKS)
            failed = await client.get("/fail", self.SHOP)
            other = await client.get("/notes/a", {"Origin": "https://evil.example.com"})

        assert (asked.status, asked.headers["access-control-allow-origin"]) == (200, self.SHOP["Origin"])
        assert "if-match" in asked.headers["access-control-allow-headers"].lower()
        assert failed.headers["access-control-allow-origin"] == self.SHOP["Origin"]
        assert "Craton-Position" in failed.headers["access-control-expose-headers"]
        assert "access-control-allow-origin" not in other.headers

    @pytest.mark.parametrize("text", ["*", "shop.example.com", "https://shop.example.com/", "https://a b", "null"])
    def test_must_be_named_as_a_browser_does(self, text: str) -> None:
        with pytest.raises(WiringError, match="is no origin"):
            origins_of(f"https://ok.example.com,{text}")


class TestMiddleware:
    async def test_sees_every_answer_the_outermost_last(self, start: Started) -> None:
        async with start(middleware=[marks("outer"), marks("inner")]) as client:
            head = await client.raw(b"GET /notes/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            failed = await client.get("/fail")

        assert head.status == 200
        assert head.headers["marked-by"] == failed.headers["marked-by"] == "outer"

    async def test_may_answer_itself_and_the_answer_has_all_that_others_have(self, start: Started) -> None:
        async with start(middleware=[marks("outer"), marks("inner")]) as client:
            answer = await client.get("/inner")

        assert (answer.json, answer.headers["marked-by"]) == ("inner", "outer")
        assert {"craton-request-id", "x-content-type-options", "cache-control"} <= answer.headers.keys()

    async def test_that_fails_is_a_bug_like_any_other(self, start: Started) -> None:
        async with start(middleware=[marks("outer")]) as client:
            answer = await client.get("/outer/raise")

        assert (answer.status, answer.code) == (500, "internal")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"order": ' + b"9" * 5_000 + b"}", 400),
        (b'{"order": 1e400}', 400),
        (b'{"order": "x"}', 422),
        (b'{"order": NaN}', 400),
        (b"[" * 100_000, 400),
        (b'{"order": 1, "order": 2}', 400),
        (b"\xff\xfe", 400),
        (b'{"order": "\\ud800"}', 400),
    ],
)
async def test_a_refusal_shows_no_names_of_the_programs_types(client: Client, body: bytes, status: int) -> None:
    answer = await client.post("/notes/sorted", body)

    assert answer.status == status
    for word in ("sys.", "python", "limit (", "codec", "decimal", "<class", "msgspec", "Traceback", "`int`", "`str`"):
        assert word.lower() not in answer.body.decode().lower()


async def test_what_no_route_asks_for_is_refused_in_a_query(client: Client) -> None:
    answer = await client.get("/notes/a?verson=1")

    assert (answer.status, answer.code) == (422, "invalid-value")
    assert "verson" in answer.json["detail"]


async def test_two_routes_that_are_the_same_are_refused(tmp_path: Path) -> None:
    routes = Routes(get("/notes/{note}", Notes.note, access=public), get("/notes/{id}", page, access=public))
    app = App("edge", modules=[Module("notes", api=Notes, service=NotesService, routes=routes)], environment={})

    async with app.run(stores("sqlite", tmp_path, "edge")):
        with pytest.raises(WiringError, match=r"GET /notes/\{id\} stands in the route tables twice"):
            asgi(app)
