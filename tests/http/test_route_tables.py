"""Mistakes in a route table are said before the first request, each in a sentence."""

from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from craton.adapters.http import wrong_routes
from craton.application import (
    Api,
    Caller,
    Module,
    Paging,
    Routes,
    command,
    delete,
    get,
    only,
    own,
    post,
    public,
    put,
    query,
)
from craton.domain import Id, Value
from craton.runtime import App


class TableId(Id):
    pass


class Guests(Value):
    count: int


class Booked(Value):
    table: TableId
    number: int


class Tables(Api):
    @query
    async def authenticate(self, token: str) -> Caller:
        """Who has a token."""

    @command
    async def book(self, table: TableId, guests: Guests) -> Booked:
        """Book a table."""

    @command
    async def cancel(self, table: TableId) -> None:
        """Give a table back."""

    @query
    async def table(self, table: TableId) -> Guests:
        """Who sits at a table."""

    @query
    async def tables(self, *, guests: Guests | None = None, paging: Paging = Paging()) -> int:
        """How many tables there are."""


class TablesService(Tables):
    async def authenticate(self, token: str) -> Caller:
        return Caller(token, frozenset())

    async def book(self, table: TableId, guests: Guests) -> Booked:
        return Booked(table=table, number=1)

    async def cancel(self, table: TableId) -> None:
        """Nothing is kept."""

    async def table(self, table: TableId) -> Guests:
        return Guests(count=1)

    async def tables(self, *, guests: Guests | None = None, paging: Paging = Paging()) -> int:
        return 0

    async def helper(self, table: TableId) -> int:
        return 1


class Kitchen(Api):
    @query
    async def menu(self) -> str:
        """What there is."""


class KitchenService(Kitchen):
    async def menu(self) -> str:
        return "soup"


async def by_hand(_: Request) -> Response:
    return Response()


def at_once(_: Request) -> Response:
    return Response()


async def of_nothing() -> Response:
    return Response()


def mistakes(*routes: Any, **options: Any) -> list[str]:
    modules = [
        Module("tables", api=Tables, service=TablesService, routes=Routes(*routes)),
        Module("kitchen", api=Kitchen, service=KitchenService),
    ]
    return list(wrong_routes(App("inn", modules=modules, **{"authenticate": Tables.authenticate, **options})))


def test_a_table_without_mistakes_has_none() -> None:
    assert (
        mistakes(
            post("/tables/{table}", Tables.book, status=201, location="/tables/{table}?n={number}"),
            delete("/tables/{table}", Tables.cancel, access=own("table", "host")),
            put("/my-table", Tables.cancel, status=204, caller="table"),
            get("/tables/{table}", Tables.table, access=public),
            post("/tables", Tables.tables),
            get("/by-hand/{anything}", by_hand),
        )
        == []
    )


@pytest.mark.parametrize(
    ("route", "said"),
    [
        (
            get("/tables/{table}", Tables.cancel),
            "Tables.cancel is a command, and whatever follows a link would give it",
        ),
        (get("/tables/{tabel}", Tables.table), "there is no parameter 'tabel'; Tables.table has table"),
        (get("/tables/{table}/{table}", Tables.table), "a parameter stands in the path twice"),
        (get("/tables/{table", Tables.table), "a path is such as"),
        (get("/tables/{table}.json", Tables.table), "a path is such as"),
        (get("/tables/{table:int}", Tables.table), "a path is such as"),
        (get("tables/{table}", Tables.table), "a path is such as"),
        (get("/t/{table}", Tables.table, access=own("guest", "host")), "own('guest') names no parameter"),
        (get("/t", Tables.table, caller="guest"), "caller='guest' names no parameter"),
        (get("/t/{table}", Tables.table, caller="table"), "comes from the caller's token"),
        (get("/t", Tables.table, caller="table", access=public), "a stranger has no id"),
        (get("/menu", Kitchen.menu), "Kitchen.menu is another module's"),
        (get("/helper", TablesService.helper), "TablesService.helper is neither a @command nor a @query"),
        (get("/t/{table}", TablesService.table), "TablesService.table is neither a @command nor a @query"),
        (get("/by-hand", at_once), "at_once must be an async function of the request"),
        (get("/by-hand", of_nothing), "of_nothing must be an async function of the request"),
        (get("/b/{table}", by_hand, access=own("table", "host")), "has no parameters that could be the caller"),
        (get("/b", by_hand, caller="table"), "has no parameters that could be the caller"),
        (post("/t/{table}", Tables.book, status=204), "status 204 has no body, and Tables.book returns something"),
        (post("/t/{table}", Tables.book, location="/tables/{id}"), "the location asks for {id}"),
        (post("/t/{table}/c", Tables.cancel, location="/tables/{table}"), "the location asks for fields of a result"),
        (get("/tables", Tables.tables), "'guests' has parts, and can't stand in a query"),
    ],
)
def test_a_mistake_is_reported_with_its_route(route: Any, said: str) -> None:
    (sentence,) = mistakes(route)

    assert sentence.startswith(f"module tables: {route.method} {route.path}: ")
    assert said in sentence


@pytest.mark.parametrize(
    "route",
    [
        get("/tables/{table}", Tables.table),
        get("/tables/{table}", Tables.table, access=only("host")),
        get("/my-table", Tables.table, caller="table", access=public),
        get("/by-hand", by_hand),
    ],
)
def test_a_route_that_is_not_public_needs_an_app_that_authenticates(route: Any) -> None:
    sentences = mistakes(route, get("/all", by_hand, access=public), authenticate=None)

    assert f"app inn: {route.method} {route.path} (1 such in all) is not for strangers" in sentences[0]
