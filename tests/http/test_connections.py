"""What a connection may do, and how long: whatever a client sends or leaves unread, it is bounded, and others go on."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from craton.adapters.addresses import address_of
from craton.adapters.http.protocol import MAX_HEAD_BYTES, MAX_HEAD_LINES, STAGE_SECONDS, Stage
from tests.http.client import Client

GET = b"GET /health/live HTTP/1.1\r\nHost: market\r\n"
OPEN = b'{"owner": "Ada", "currency": "EUR"}'
POST = b"POST /v1/accounts HTTP/1.1\r\nHost: market\r\nContent-Type: application/json\r\n"
WHOLE = POST + b"Content-Length: %d\r\n" % len(OPEN)
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n" % (len(OPEN), OPEN)


@dataclass
class Answer:
    status: int
    head: str
    body: Any

    @property
    def replayed(self) -> bool:
        return "idempotency-replayed: true" in self.head


@dataclass
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *parts: bytes) -> None:
        """Send as much as the server takes: it may have said its last word already."""
        with contextlib.suppress(ConnectionError):
            await self.insist(*parts)

    async def insist(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def answer(self) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = re.search(r"content-length: (\d+)", head)
        body = await self.reader.readexactly(int(length[1]) if length else 0)
        return Answer(int(head.split(" ")[1]), head, json.loads(body) if "json" in head else body)

    async def ended(self) -> None:
        """Wait until the server has hung up, and see that it says nothing before that."""
        try:
            assert await self.reader.read() == b""
        except ConnectionResetError:
            return


@asynccontextmanager
async def connected(client: Client, address: str = "127.0.0.1") -> AsyncIterator[Connection]:
    """A connection from an address of this machine."""
    connection = Connection(*await asyncio.open_connection(client.host, client.port, local_addr=(address, 0)))
    try:
        yield connection
    finally:
        connection.writer.close()


@pytest.fixture
async def connection(client: Client) -> AsyncIterator[Connection]:
    async with connected(client) as connection:
        yield connection


def soon(monkeypatch: pytest.MonkeyPatch, stage: Stage) -> None:
    """Have the time of a stage be over at once."""
    monkeypatch.setitem(STAGE_SECONDS, stage, 0.05)


def refused(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.body["status"], answer.body["code"]) == (status, status, code)
    assert "content-type: application/problem+json" in answer.head
    assert "connection: close" in answer.head


class TestAHead:
    async def test_is_refused_as_soon_as_64_kib_of_it_have_arrived_though_its_line_has_no_end(
        self, connection: Connection
    ) -> None:
        begun = GET + b"X: "
        await connection.send(begun, b"x" * (MAX_HEAD_BYTES - len(begun) - 1))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await connection.answer()

        await connection.send(b"x")

        refused(await connection.answer(), 431, "head-too-large")
        await connection.ended()

    async def test_may_have_a_hundred_lines_and_no_more(self, client: Client) -> None:
        lines = [b"X: y\r\n"] * (MAX_HEAD_LINES - 1)  # and Host
        async with connected(client) as enough, connected(client) as too_many:
            await enough.send(GET, *lines, b"\r\n")
            assert (await enough.answer()).status == 200

            await too_many.send(GET, *lines, b"X: y\r\n\r\n")
            refused(await too_many.answer(), 431, "head-too-large")

    @pytest.mark.parametrize("hosts", [b"", b"Host: a\r\nHost: b\r\n", b"Host: a\r\nHost: a\r\n"])
    async def test_has_one_host(self, connection: Connection, hosts: bytes) -> None:
        await connection.send(b"GET /health/live HTTP/1.1\r\n" + hosts + b"\r\n")

        refused(await connection.answer(), 400, "malformed-header")

    async def test_of_an_older_version_needs_no_host(self, connection: Connection) -> None:
        await connection.send(b"GET /health/live HTTP/1.0\r\n\r\n")

        assert (await connection.answer()).status == 200

    async def test_that_does_not_arrive_in_time_is_answered(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        soon(monkeypatch, Stage.HEAD)
        async with connected(client) as connection:
            await connection.send(GET)

            refused(await connection.answer(), 408, "request-timeout")
            await connection.ended()

    async def test_has_values_that_end_before_their_white_space(self, connection: Connection) -> None:
        answers = []
        for key in (b"same", b"same \t "):
            await connection.send(WHOLE + b"Idempotency-Key: " + key + b"\r\n\r\n" + OPEN)
            answers.append(await connection.answer())

        assert [answer.replayed for answer in answers] == [False, True]


class TestTrailers:
    async def test_are_no_headers(self, connection: Connection) -> None:
        for _ in range(2):
            await connection.send(CHUNKED + b"Idempotency-Key: in a trailer\r\n\r\n")
            answer = await connection.answer()
            assert (answer.status, answer.replayed) == (201, False)

    async def test_are_bounded_though_a_line_has_no_end(self, connection: Connection) -> None:
        await connection.send(CHUNKED + b"X: ", b"x" * 2 * MAX_HEAD_BYTES)

        refused(await connection.answer(), 431, "head-too-large")
        await connection.ended()

    async def test_are_bounded_in_number(self, connection: Connection) -> None:
        await connection.send(CHUNKED, b"X: y\r\n" * MAX_HEAD_LINES)

        refused(await connection.answer(), 431, "head-too-large")

    async def test_are_bounded_in_time(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        soon(monkeypatch, Stage.BODY)
        async with connected(client) as connection:
            await connection.send(CHUNKED + b"X: y")

            refused(await connection.answer(), 408, "request-timeout")
            await connection.ended()


class TestASilentConnection:
    async def test_is_closed_when_its_request_was_answered_and_its_body_never_ends(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        soon(monkeypatch, Stage.BODY)
        async with connected(client) as connection:
            await connection.send(b"POST /nowhere HTTP/1.1\r\nHost: market\r\nContent-Length: 9\r\n\r\n")
            assert (await connection.answer()).status == 404
            await connection.send(b"x")

            await connection.ended()

    async def test_is_closed_when_it_has_sent_empty_lines_after_its_answer(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        soon(monkeypatch, Stage.IDLE)
        async with connected(client) as connection:
            await connection.send(GET + b"\r\n")
            assert (await connection.answer()).status == 200
            await connection.send(b"\r\n")

            await connection.ended()

    async def test_that_does_not_read_its_answers_is_cut_off(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("craton.adapters.http.protocol.UNREAD_SECONDS", 0.05)
        async with connected(client) as connection:
            connection.reader._transport.pause_reading()  # type: ignore[attr-defined]
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                while True:
                    await connection.insist(GET.replace(b"/health/live", b"/openapi.json") + b"\r\n")
                    await asyncio.sleep(0.001)


class TestABadRequest:
    async def test_is_answered_after_the_good_one_before_it(self, connection: Connection) -> None:
        await connection.send(WHOLE + b"\r\n" + OPEN + b"no request at all\r\n\r\n")

        assert (await connection.answer()).status == 201
        refused(await connection.answer(), 400, "malformed-request")
        await connection.ended()

    async def test_is_answered_at_once_when_its_own_body_is_what_is_wrong(self, connection: Connection) -> None:
        await connection.send(POST + b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\n")

        refused(await connection.answer(), 400, "malformed-request")
        await connection.ended()

    async def test_does_not_keep_the_good_one_before_it_from_being_answered_though_its_body_is_wrong(
        self, connection: Connection
    ) -> None:
        await connection.send(WHOLE + b"\r\n" + OPEN + POST + b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\n")

        assert (await connection.answer()).status == 201
        refused(await connection.answer(), 400, "malformed-request")
        await connection.ended()


@asynccontextmanager
async def two_busy(client: Client, *addresses: str) -> AsyncIterator[list[Connection]]:
    """Connections that are in the middle of a request."""
    async with connected(client, addresses[0]) as one, connected(client, addresses[1]) as two:
        for connection in (one, two):
            await connection.send(WHOLE + b"Expect: 100-continue\r\n\r\n")
            assert (await connection.answer()).status == 100
        yield [one, two]


HERE, THERE, ELSEWHERE = "127.0.0.1", "127.0.0.2", "127.0.0.3"


class TestMoreConnectionsThanTheServerServes:
    @pytest.fixture(autouse=True)
    def it_serves_two(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("craton.adapters.http.protocol.MAX_CONNECTIONS", 2)

    async def test_are_served_in_place_of_idle_ones(self, client: Client) -> None:
        async with connected(client, HERE) as oldest, connected(client, THERE) as other:
            for connection in (oldest, other):
                await connection.send(GET + b"\r\n")
                assert (await connection.answer()).status == 200
            async with connected(client, ELSEWHERE) as newest:
                await newest.send(GET + b"\r\n")
                assert (await newest.answer()).status == 200

            await oldest.ended()
            await other.send(WHOLE + b"\r\n" + OPEN)
            assert (await other.answer()).status == 201

    async def test_are_told_to_try_again_when_none_is_idle(self, client: Client) -> None:
        async with two_busy(client, HERE, THERE) as busy, connected(client, ELSEWHERE) as third:
            await third.send(WHOLE + b"\r\n" + OPEN)
            answer = await third.answer()

            refused(answer, 503, "overloaded")
            assert "retry-after: " in answer.head
            await third.ended()
            for connection in busy:
                await connection.send(OPEN)
                assert (await connection.answer()).status == 201

    async def test_may_still_ask_for_the_servers_health(self, client: Client) -> None:
        async with two_busy(client, HERE, THERE), connected(client, ELSEWHERE) as third:
            await third.send(GET + b"\r\n")

            assert (await third.answer()).status == 200


class TestMoreConnectionsThanOneAddressMayHold:
    @pytest.fixture(autouse=True)
    def it_may_hold_two_of_four(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("craton.adapters.http.protocol.MAX_CONNECTIONS", 4)

    async def test_are_told_to_try_again_while_others_are_served(self, client: Client) -> None:
        async with two_busy(client, HERE, HERE), connected(client, HERE) as third, connected(client, THERE) as other:
            for connection in (third, other):
                await connection.send(WHOLE + b"\r\n" + OPEN)

            refused(await third.answer(), 503, "overloaded")
            assert (await other.answer()).status == 201

    async def test_take_the_place_of_its_own_idle_ones(self, client: Client) -> None:
        async with connected(client, THERE) as other, connected(client, HERE) as oldest, connected(client, HERE):
            await other.send(GET + b"\r\n")
            assert (await other.answer()).status == 200
            async with connected(client, HERE) as newest:
                await newest.send(WHOLE + b"\r\n" + OPEN)
                assert (await newest.answer()).status == 201

            await oldest.ended()
            await other.send(WHOLE + b"\r\n" + OPEN)
            assert (await other.answer()).status == 201

    async def test_do_not_keep_others_out_even_beyond_the_limit_of_all(self, client: Client) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(8):
                connection = await stack.enter_async_context(connected(client, HERE))
                await connection.send(b"GET / HTTP/1.1\r\n")
            async with connected(client, THERE) as other:
                await other.send(WHOLE + b"\r\n" + OPEN)
                assert (await other.answer()).status == 201

    async def test_are_served_again_when_it_has_closed_some(self, client: Client) -> None:
        for _ in range(5):
            async with two_busy(client, HERE, HERE) as busy:
                for connection in busy:
                    await connection.send(OPEN)
                    assert (await connection.answer()).status == 201


@pytest.mark.parametrize(
    ("host", "counted_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("", ""),
    ],
)
def test_an_ipv6_network_of_64_bits_counts_as_one_address(host: str, counted_as: str) -> None:
    assert address_of(host) == counted_as
