"""What routes can do beside calling an operation: name the caller, be written by hand, and say when to try again."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from craton.adapters.http import asgi, read_bounded
from craton.adapters.stores import stores
from craton.application import (
    Api,
    Caller,
    Module,
    Repository,
    Routes,
    Settings,
    WiringError,
    command,
    context,
    get,
    once,
    only,
    post,
    public,
    query,
)
from craton.domain import Aggregate, Event, Id, Name, Secret, TooManyAttempts, Unauthenticated
from craton.runtime import App
from tests.http.client import Client
from tests.http.conftest import served

ANN, BOB, ROOT = (f"00000000-0000-7000-8000-00000000000{digit}" for digit in "abf")
CALLERS = {
    "ann": Caller(ANN, frozenset()),
    "bob": Caller(BOB, frozenset()),
    "root": Caller(ROOT, frozenset({"admin"})),
    "odd": Caller("not-a-uuid", frozenset()),
}


class PersonId(Id):
    pass


class Written(Event):
    text: str


class Box(Aggregate[PersonId]):
    letters: tuple[str, ...] = ()

    def apply(self, event: Written) -> None:
        self.letters = (*self.letters, event.text)


class PostSettings(Settings):
    word: Secret = Secret("sesame")
    limit: int = 64


class Stamp(Protocol):
    def stamp(self, text: str) -> str: ...


class Loud:
    def stamp(self, text: str) -> str:
        return text.upper()


class Office(Api):
    @query
    async def authenticate(self, token: str) -> Caller:
        """Who has a token."""

    @command
    async def write(self, person: PersonId, text: Name) -> PersonId:
        """Put a letter into one's own box."""

    @query
    async def letters(self, person: PersonId) -> tuple[str, ...]:
        """What is in a box."""

    @command
    async def ring(self, seconds: int) -> None:
        """Be told to wait."""


class OfficeService(Office):
    def __init__(self, boxes: Repository[Box]) -> None:
        self._boxes = boxes

    async def authenticate(self, token: str) -> Caller:
        if token not in CALLERS:
            raise Unauthenticated()
        return CALLERS[token]

    async def write(self, person: PersonId, text: Name) -> PersonId:
        box = await self._boxes.find(person)
        if box is None:
            box = Box(person)
            self._boxes.add(box)
        box.record(Written(text=text))
        return person

    async def letters(self, person: PersonId) -> tuple[str, ...]:
        box = await self._boxes.find(person)
        return () if box is None else box.letters

    async def ring(self, seconds: int) -> None:
        raise TooManyAttempts(retry_after=seconds)


async def deliver(request: Request, office: Office, stamp: Stamp, settings: PostSettings) -> Response:
    """A webhook: authenticated by a word, bounded, idempotent by its id."""
    body = json.loads(await read_bounded(request, settings.limit))
    if body["word"] != settings.word.reveal():
        raise Unauthenticated()
    with once(f"letter/{body['id']}"):
        await office.write(PersonId(ANN), Name(stamp.stamp(body["text"])))
    return JSONResponse({"delivered": True}, 202)


async def who(_: Request) -> Response:
    return JSONResponse({"actor": context().actor})


async def ring_by_hand(_: Request, office: Office) -> Response:
    await office.ring(7)
    return Response()


def office(*routes: object) -> Module:
    table = routes or (
        post("/v1/letters", Office.write, status=201, location="/v1/letters/{id}", caller="person"),
        get("/v1/letters", Office.letters, caller="person"),
        post("/v1/bell", Office.ring, access=public),
        post("/v1/by-hand/bell", ring_by_hand, access=public),
        post("/v1/by-hand/letters", deliver, access=public),
        get("/v1/by-hand/who", who),
        get("/v1/by-hand/admin", who, access=only("admin")),
    )
    return Module(
        "office",
        api=Office,
        service=OfficeService,
        routes=Routes(*table),  # type: ignore[arg-type]
        settings=PostSettings,
        provides={Stamp: Loud()},
    )


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    app = App("handlers", modules=[office()], authenticate=Office.authenticate, environment={})
    async with app.run(stores("sqlite", tmp_path, "handlers")), served(app) as client:
        yield client


def with_token(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class TestTheCaller:
    async def test_comes_from_the_token_and_never_from_the_request(self, client: Client) -> None:
        written = await client.post("/v1/letters", {"text": "hello"}, with_token("ann"))
        forged = await client.post("/v1/letters", {"text": "hello", "person": ANN}, with_token("bob"))
        asked = await client.get(f"/v1/letters?person={ANN}", with_token("bob"))

        assert (written.status, written.json, written.headers["location"]) == (201, {"id": ANN}, f"/v1/letters/{ANN}")
        assert (forged.status, forged.code) == (422, "invalid-value")
        assert (asked.status, asked.code) == (422, "invalid-value")
        assert (await client.get("/v1/letters", with_token("ann"))).json == ["hello"]

    async def test_is_required_where_a_route_names_one(self, client: Client) -> None:
        for answer in (await client.get("/v1/letters"), await client.post("/v1/letters", {"text": "hello"})):
            assert (answer.status, answer.code) == (401, "unauthenticated")

    async def test_with_an_id_of_another_form_is_a_wrong_value(self, client: Client) -> None:
        assert (await client.get("/v1/letters", with_token("odd"))).status == 422

    async def test_is_no_parameter_in_the_document(self, client: Client) -> None:
        document = (await client.get("/openapi.json")).json

        assert "person" not in str(document["paths"]["/v1/letters"]["get"]["parameters"])
        assert document["components"]["schemas"]["OfficeWriteBody"]["properties"].keys() == {"text"}

    async def test_must_be_a_parameter_of_the_operation(self, tmp_path: Path) -> None:
        modules = [office(get("/v1/letters", Office.letters, caller="nobody"))]
        app = App("handlers", modules=modules, authenticate=Office.authenticate, environment={})

        async with app.run(stores("sqlite", tmp_path, "handlers")):
            with pytest.raises(WiringError, match=r"GET /v1/letters: caller='nobody' names no parameter"):
                asgi(app)

    async def test_may_have_a_route_beside_the_public_one(self, tmp_path: Path) -> None:
        mine, anybodys = (
            get("/v1/letters", Office.letters, caller="person"),
            get("/v1/boxes/{person}", Office.letters, access=public),
        )
        app = App("handlers", modules=[office(mine, anybodys)], authenticate=Office.authenticate, environment={})

        async with app.run(stores("sqlite", tmp_path, "handlers")), served(app) as client:
            assert (await client.get(f"/v1/boxes/{ANN}")).status == 200
            assert (await client.get("/v1/letters", with_token("ann"))).status == 200


class TestTooManyAttempts:
    async def test_say_after_how_many_seconds_to_try_again(self, client: Client) -> None:
        answer = await client.post("/v1/bell", {"seconds": 42})

        assert (answer.status, answer.code, answer.headers["retry-after"]) == (429, "too-many-attempts", "42")
        assert answer.json["details"] == {"retry_after": 42}

    async def test_say_so_also_from_a_handler_that_was_written_by_hand(self, client: Client) -> None:
        answer = await client.post("/v1/by-hand/bell")

        assert (answer.status, answer.code, answer.headers["retry-after"]) == (429, "too-many-attempts", "7")


class TestAHandlerWrittenByHand:
    async def test_is_given_what_its_annotations_ask_for(self, client: Client) -> None:
        answer = await client.post("/v1/by-hand/letters", {"id": "1", "word": "sesame", "text": "hello"})

        assert (answer.status, answer.json) == (202, {"delivered": True})
        assert (await client.get("/v1/letters", with_token("ann"))).json == ["HELLO"]

    async def test_has_one_effect_for_each_message_with_an_id(self, client: Client) -> None:
        for id in ("1", "1", "2", "1"):
            answer = await client.post("/v1/by-hand/letters", {"id": id, "word": "sesame", "text": "hello"})
            assert answer.status == 202

        assert (await client.get("/v1/letters", with_token("ann"))).json == ["HELLO", "HELLO"]

    async def test_answers_refusals_as_problems(self, client: Client) -> None:
        wrong = await client.post("/v1/by-hand/letters", {"id": "1", "word": "mellon", "text": "hello"})
        large = await client.post("/v1/by-hand/letters", b"{" + b" " * 64)
        endless = {"Transfer-Encoding": "chunked", "Content-Type": "application/json"}
        streamed = await client.request(
            "POST", "/v1/by-hand/letters", b"50\r\n" + b" " * 80 + b"\r\n0\r\n\r\n", endless
        )

        assert (wrong.status, wrong.code) == (401, "unauthenticated")
        assert wrong.headers["www-authenticate"] == "Bearer"
        assert (large.status, large.code) == (streamed.status, streamed.code) == (413, "body-too-large")

    async def test_answers_a_bug_with_an_internal_error_without_details(self, client: Client) -> None:
        answer = await client.post("/v1/by-hand/letters", b"{nonsense")

        assert (answer.status, answer.code) == (500, "internal")
        assert b"nonsense" not in answer.body
        assert b"JSON" not in answer.body

    async def test_has_a_guard_and_knows_its_caller(self, client: Client) -> None:
        assert (await client.get("/v1/by-hand/who")).status == 401
        assert (await client.get("/v1/by-hand/who", with_token("ann"))).json == {"actor": ANN}
        assert (await client.get("/v1/by-hand/admin", with_token("ann"))).status == 403
        assert (await client.get("/v1/by-hand/admin", with_token("root"))).status == 200

    def test_whose_parameter_has_no_provider_is_a_mistake(self) -> None:
        async def lost(_: Request, nobodys: Name) -> Response:
            return Response()

        (problem,) = App("handlers", modules=[office(get("/v1/lost", lost))], environment={}).wiring.problems()

        assert problem == (
            "module office: lost asks for nobodys: Name, which nothing provides. Give it to the module as provides={…}"
        )
