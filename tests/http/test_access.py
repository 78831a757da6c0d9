"""Who may call what: the default is closed, and each route names its guard."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from craton.adapters.http import asgi
from craton.adapters.stores import stores
from craton.application import (
    Api,
    Caller,
    Module,
    Routes,
    WiringError,
    command,
    get,
    only,
    own,
    permit,
    post,
    public,
    query,
)
from craton.domain import Id, Unauthenticated
from craton.runtime import App
from tests.http.client import Client
from tests.http.conftest import served

ANN = "00000000-0000-7000-8000-00000000000a"
TOKENS = {
    "ann": Caller(ANN, frozenset({"member"})),
    "bob": Caller("00000000-0000-7000-8000-00000000000b", frozenset({"member"})),
    "root": Caller("00000000-0000-7000-8000-0000000000ff", frozenset({"admin"})),
}


class UserId(Id):
    pass


class Desk(Api):
    @query
    async def authenticate(self, token: str) -> Caller:
        """Who has a token."""

    @query
    async def news(self) -> str:
        """For everybody."""

    @query
    async def lounge(self) -> str:
        """For who is signed in."""

    @command
    async def close(self) -> str:
        """For administrators."""

    @query
    async def letters(self, user: UserId) -> str:
        """For the user himself."""

    @query
    async def diary(self, user: UserId) -> str:
        """For the user himself, as the use case finds out."""


class DeskService(Desk):
    async def authenticate(self, token: str) -> Caller:
        if token not in TOKENS:
            raise Unauthenticated()
        return TOKENS[token]

    async def news(self) -> str:
        return "news"

    async def lounge(self) -> str:
        return "lounge"

    async def close(self) -> str:
        return "closed"

    async def letters(self, user: UserId) -> str:
        return "letters"

    async def diary(self, user: UserId) -> str:
        permit(user, "admin")
        return "diary"


class Reader(Api):
    @query
    async def read(self, user: UserId) -> str:
        """Another module, which reads a diary for whoever asks."""


class ReaderService(Reader):
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def read(self, user: UserId) -> str:
        return await self._desk.diary(user)


async def plain(_: Request) -> Response:
    return PlainTextResponse("by hand")


DESK = Module(
    "desk",
    api=Desk,
    service=DeskService,
    routes=Routes(
        get("/news", Desk.news, access=public),
        get("/lounge", Desk.lounge),
        post("/close", Desk.close, access=only("admin")),
        get("/users/{user}/letters", Desk.letters, access=own("user", "admin")),
        get("/users/{user}/diary", Desk.diary),
        get("/users/{user}/shown-diary", Desk.diary, access=public),
        get("/by-hand", plain, access=only("admin")),
        get("/by-hand/public", plain, access=public),
    ),
)
READER = Module("reader", api=Reader, service=ReaderService, routes=Routes(get("/read/{user}", Reader.read)))


def with_token(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    app = App("access", modules=[DESK, READER], authenticate=Desk.authenticate)
    async with app.run(stores("sqlite", tmp_path, "access")), served(app) as client:
        yield client


async def test_a_public_route_admits_every_caller(client: Client) -> None:
    assert (await client.get("/news")).status == 200
    assert (await client.get("/by-hand/public")).status == 200


@pytest.mark.parametrize(
    "path", ["/lounge", f"/users/{ANN}/letters", f"/users/{ANN}/diary", "/by-hand", "/v1/admin/projections"]
)
async def test_every_other_route_needs_a_token(client: Client, path: str) -> None:
    answer = await client.get(path)

    assert (answer.status, answer.code) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "said", ["", "Bearer", "Basic YTpi", "bearer  ann", "Bearer ann bob", 'Bearer "ann"', "Bearer " + "x" * 5_000]
)
@pytest.mark.parametrize("path", ["/news", "/lounge", "/by-hand"])
async def test_a_malformed_token_is_refused_even_where_none_is_needed(client: Client, said: str, path: str) -> None:
    assert (await client.get(path, {"Authorization": said})).status == 401


async def test_an_expired_token_is_refused_only_where_a_token_is_needed(client: Client) -> None:
    expired = with_token("nobody")

    assert (await client.get("/news", expired)).status == 200
    assert (await client.get("/by-hand/public", expired)).status == 200
    assert (await client.get("/lounge", expired)).status == 401


async def test_a_use_case_that_checks_its_caller_refuses_a_stranger(client: Client) -> None:
    for headers in ({}, with_token("nobody")):
        answer = await client.get(f"/users/{ANN}/shown-diary", headers)
        assert (answer.status, answer.code) == (401, "unauthenticated")
    assert (await client.get(f"/users/{ANN}/shown-diary", with_token("bob"))).status == 403
    assert (await client.get(f"/users/{ANN}/shown-diary", with_token("ann"))).status == 200


async def test_two_authorization_headers_are_malformed(client: Client) -> None:
    head = b"GET /lounge HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ann\r\n"

    assert (await client.raw(head + b"Authorization: Bearer bob\r\n\r\n")).status == 400


async def test_a_caller_that_is_signed_in_may_call_a_route_without_a_guard(client: Client) -> None:
    assert (await client.get("/lounge", with_token("ann"))).status == 200


@pytest.mark.parametrize(("token", "status"), [("ann", 403), ("root", 200)])
async def test_a_route_for_a_role_admits_callers_with_it(client: Client, token: str, status: int) -> None:
    assert (await client.post("/close", headers=with_token(token))).status == status
    assert (await client.get("/by-hand", with_token(token))).status == status
    assert (await client.get("/v1/admin/projections", with_token(token))).status == status


async def test_a_role_is_checked_before_the_body_is_read(client: Client) -> None:
    assert (await client.post("/close", b"{nonsense", with_token("ann"))).status == 403


@pytest.mark.parametrize(("token", "status"), [("ann", 200), ("bob", 403), ("root", 200)])
@pytest.mark.parametrize("what", ["letters", "diary"])
async def test_an_owners_route_admits_the_owner_and_the_role(
    client: Client, token: str, status: int, what: str
) -> None:
    assert (await client.get(f"/users/{ANN}/{what}", with_token(token))).status == status


async def test_a_call_by_another_module_is_not_refused(client: Client) -> None:
    assert (await client.get(f"/read/{ANN}", with_token("bob"))).status == 200


async def test_a_wrong_id_is_a_wrong_value(client: Client) -> None:
    assert (await client.get("/users/nonsense/letters", with_token("bob"))).status == 422


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic YTpi"}, with_token("nobody")], ids=str)
async def test_health_metrics_and_documentation_are_public_whatever_token_comes_along(
    client: Client, path: str, headers: dict[str, str]
) -> None:
    assert (await client.get(path, headers)).status == 200


async def test_the_document_says_which_routes_need_a_token(client: Client) -> None:
    document = (await client.get("/openapi.json")).json
    paths: dict[str, Any] = document["paths"]

    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert paths["/news"]["get"]["security"] == []
    assert paths["/lounge"]["get"]["security"] == [{"token": []}]
    assert {"401", "403"} <= paths["/close"]["post"]["responses"].keys()


async def test_an_application_that_knows_no_callers_has_no_routes_for_some_only(tmp_path: Path) -> None:
    app = App("open", modules=[DESK])
    async with app.run(stores("sqlite", tmp_path, "open")):
        with pytest.raises(WiringError, match=r"GET /lounge \(5 such in all\) is not for strangers"):
            asgi(app)


async def test_callers_have_idempotency_keys_of_their_own(client: Client) -> None:
    key = {"Idempotency-Key": "once"}
    await client.post("/close", headers={**with_token("root"), **key})

    again = await client.post("/close", headers={**with_token("root"), **key})

    assert (again.status, again.headers["idempotency-replayed"]) == (200, "true")
    assert (await client.post("/close", headers={**with_token("ann"), **key})).status == 403
