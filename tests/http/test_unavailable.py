"""A database that can't be reached: 503 with Retry-After, nothing internal, and all is well when it is back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from craton.testing import until
from tests.http.calls import money, open_account
from tests.http.client import Client
from tests.http.conftest import served
from tests.market.guarded import GuardedPlace


class Cable:
    """What connects the process with its database, and can be cut."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def plug_in(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._writers.clear()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(*self._target)
        self._writers |= {writer, there_writer}
        for source, sink in ((reader, there_writer), (there_reader, writer)):
            task = asyncio.create_task(_pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
    except ConnectionError:
        """Cut."""
    finally:
        sink.close()


@pytest.fixture
async def cable(postgres_url: str) -> AsyncIterator[Cable]:
    parts = urlsplit(postgres_url)
    cable = Cable(parts.hostname or "127.0.0.1", parts.port or 5432)
    await cable.plug_in()
    yield cable
    await cable.cut()


@pytest.fixture
async def client(cable: Cable, postgres_url: str, tmp_path: Path) -> AsyncIterator[Client]:
    parts = urlsplit(postgres_url)
    user = parts.netloc.rpartition("@")[0]
    place = GuardedPlace(parts._replace(netloc=f"{user}@127.0.0.1:{cable.port}").geturl(), tmp_path)
    try:
        async with place.open() as bank, served(bank.app) as client:
            yield client
    finally:
        place.url = postgres_url
        await place.drop()


async def test_a_process_whose_database_is_gone_is_live_and_not_ready_and_says_what_fails(
    client: Client, cable: Cable
) -> None:
    await cable.cut()

    ready = await client.get("/health/ready")

    assert (ready.status, ready.json["failing"]) == (503, ["door", "ledger"])
    assert int(ready.headers["retry-after"]) >= 1
    assert (await client.get("/health/live")).status == 200
    await cable.plug_in()


async def test_without_a_database_a_request_is_unavailable_and_tells_nothing_internal(
    client: Client, cable: Cable
) -> None:
    account = await open_account(client, "5")
    await cable.cut()

    answers = [
        await client.get(f"/v1/accounts/{account}"),
        await client.post(f"/v1/accounts/{account}/deposits", {"money": money("1")}),
        await client.get("/v1/admin/projections"),
        await client.post("/v1/admin/projections/balances/rebuild"),
    ]

    for answer in answers:
        assert (answer.status, answer.code) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert not {"postgres", "127.0.0.1", "errno", "traceback"} & set(answer.body.decode().lower().split())
    await cable.plug_in()


async def test_without_a_database_there_are_metrics_that_say_so(client: Client, cable: Cable) -> None:
    await open_account(client, "5")
    before = (await client.get("/metrics")).body.decode()
    await cable.cut()

    after = await client.get("/metrics")

    assert after.status == 200
    assert 'craton_store_up{module="ledger"} 1.0' in before
    assert 'craton_store_up{module="ledger"} 0.0' in after.body.decode()
    assert 'craton_http_requests_total{method="POST",route="/v1/accounts"' in after.body.decode()
    assert "craton_log_position{" not in after.body.decode()
    await cable.plug_in()


async def test_when_the_database_is_back_requests_are_served_again(client: Client, cable: Cable) -> None:
    account = await open_account(client, "5")
    await cable.cut()
    refused = await client.post(f"/v1/accounts/{account}/deposits", {"money": money("1")}, {"Idempotency-Key": "k-1"})
    assert refused.status == 503
    await cable.plug_in()

    async def ready() -> bool:
        return (await client.get("/health/ready")).status == 200

    await until(ready, seconds=20)
    made = await client.post(f"/v1/accounts/{account}/deposits", {"money": money("1")}, {"Idempotency-Key": "k-1"})

    assert made.status == 201

    async def projected() -> bool:
        found = await client.get(f"/v1/accounts/{account}", made.position)
        return found.status == 200 and found.json["balance"] == money("6.00")

    await until(projected, seconds=20)
