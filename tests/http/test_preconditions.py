"""If-Match: a command changes what the caller has seen, whatever the path looks like, or nothing."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from craton.adapters.stores import stores
from craton.application import Api, Module, Repository, Routes, command, get, post, public, put, query
from craton.domain import AccessDenied, Aggregate, AggregateNotFound, Conflict, Event, Id, Value
from craton.runtime import App
from tests.http.client import Client
from tests.http.conftest import served

STALE, NEWEST = {"If-Match": '"1"'}, {"If-Match": '"2"'}


class DocId(Id):
    pattern = r"[a-z]{1,20}"


class LineWritten(Event):
    line: int


class DocNotFound(AggregateNotFound):
    pass


class Full(Conflict):
    """There is no room for another line."""


class Doc(Aggregate[DocId]):
    not_found = DocNotFound
    lines: int = 0

    def apply(self, event: LineWritten) -> None:
        self.lines += 1


class DocView(Value):
    lines: int
    version: int


class Docs(Api):
    @command
    async def write(self, doc: DocId, line: int) -> DocView:
        """Write a line of a document, made if it isn't there."""

    @command
    async def rewrite(self, doc: DocId, line: int) -> DocView:
        """Write a line of a document that must be there."""

    @command
    async def copy(self, doc: DocId, to: DocId) -> None:
        """Copy the lines of a document to another."""

    @command
    async def write_default(self, line: int) -> DocView:
        """Write a line of the caller's document."""

    @command
    async def refuse(self, doc: DocId, why: str) -> None:
        """Be refused."""

    @query
    async def doc(self, doc: DocId) -> DocView:
        """A document."""


class DocService(Docs):
    def __init__(self, docs: Repository[Doc]) -> None:
        self._docs = docs

    async def write(self, doc: DocId, line: int) -> DocView:
        found = await self._docs.find_or_add(doc)
        found.record(LineWritten(line=line))
        return DocView(lines=found.lines, version=found.version)

    async def rewrite(self, doc: DocId, line: int) -> DocView:
        await self._docs.get(doc)
        return await self.write(doc, line)

    async def copy(self, doc: DocId, to: DocId) -> None:
        source, target = await self._docs.get(doc), await self._docs.find_or_add(to)
        for line in range(source.lines):
            target.record(LineWritten(line=line))

    async def write_default(self, line: int) -> DocView:
        return await self.write(DocId("mine"), line)

    async def refuse(self, doc: DocId, why: str) -> None:
        await self._docs.get(doc)
        raise AccessDenied() if why == "denied" else Full()

    async def doc(self, doc: DocId) -> DocView:
        found = await self._docs.get(doc)
        return DocView(lines=found.lines, version=found.version)


def docs() -> Module:
    return Module(
        "docs",
        api=Docs,
        service=DocService,
        routes=Routes(
            put("/v1/docs/{doc}/lines/{line}", Docs.write, access=public),
            post("/v1/docs/{doc}/lines/{line}/again", Docs.rewrite, access=public),
            post("/v1/docs/{doc}/copies/{to}", Docs.copy, access=public),
            post("/v1/mine/{line}", Docs.write_default, access=public),
            post("/v1/docs/{doc}/refusals/{why}", Docs.refuse, access=public),
            get("/v1/docs/{doc}", Docs.doc, access=public),
        ),
    )


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    app = App("docs", modules=[docs()], environment={})
    async with app.run(stores("sqlite", tmp_path, "docs")), served(app) as client:
        for line in range(2):
            assert (await client.request("PUT", f"/v1/docs/a/lines/{line}")).status == 200
        yield client


async def lines(client: Client, doc: str) -> int:
    answer = await client.get(f"/v1/docs/{doc}")
    return answer.json["lines"] if answer.status == 200 else 0


class TestAStaleVersion:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("PUT", "/v1/docs/a/lines/3"),
            ("POST", "/v1/docs/a/lines/3/again"),
            ("POST", "/v1/docs/a/copies/b"),
            ("POST", "/v1/docs/a/refusals/full"),
        ],
    )
    async def test_is_refused_whatever_follows_the_id_in_the_path(self, client: Client, method: str, path: str) -> None:
        answer = await client.request(method, path, b"", STALE)

        assert (answer.status, answer.code) == (412, "stale-version")
        assert (await lines(client, "a"), await lines(client, "b")) == (2, 0)

    async def test_of_an_aggregate_that_no_path_names_is_refused(self, client: Client) -> None:
        assert (await client.post("/v1/mine/1")).status == 200
        assert (await client.post("/v1/mine/2")).status == 200

        assert (await client.post("/v1/mine/3", {}, STALE)).status == 412
        assert (await client.post("/v1/mine/3", {}, NEWEST)).status == 200

    async def test_is_not_revealed_to_callers_without_access(self, client: Client) -> None:
        answer = await client.post("/v1/docs/a/refusals/denied", {}, STALE)

        assert (answer.status, "current" in str(answer.json)) == (403, False)


class TestWhatDoesNotExist:
    @pytest.mark.parametrize("seen", ['"1"', "*"])
    @pytest.mark.parametrize(
        ("method", "path"), [("PUT", "/v1/docs/none/lines/1"), ("POST", "/v1/docs/none/lines/1/again")]
    )
    async def test_has_no_version_that_could_match(self, client: Client, method: str, path: str, seen: str) -> None:
        answer = await client.request(method, path, b"", {"If-Match": seen})

        assert (answer.status, answer.code) == (412, "stale-version")
        assert await lines(client, "none") == 0


class TestTheNewestVersion:
    @pytest.mark.parametrize("seen", ['"2"', "*"])
    async def test_lets_the_command_through(self, client: Client, seen: str) -> None:
        answer = await client.request("PUT", "/v1/docs/a/lines/3", b"", {"If-Match": seen})

        assert (answer.status, answer.json["version"]) == (200, 3)
