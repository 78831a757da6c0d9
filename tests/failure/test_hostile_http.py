"""What is no proper request is answered clearly with 4xx and harms nobody else."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from craton.adapters.http.protocol import STAGE_SECONDS, Stage
from craton.testing.crash import Process
from tests.failure.conftest import LEDGER, ROOT

JSON = "Content-Type: application/json"
HEAD_SECONDS = STAGE_SECONDS[Stage.HEAD]
OPEN = '{"owner": "Ada", "currency": "EUR"}'
SOMEBODY = "00000000-0000-7000-8000-000000000000"


@dataclass
class Answer:
    """What came back on a raw connection until the server closed it or the answer was complete."""

    status: int
    head: str
    body: bytes

    @property
    def problem(self) -> Any:
        assert "content-type: application/problem+json" in self.head.lower(), self
        return json.loads(self.body)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One market for all of this; whatever came before, it goes on."""
    with Process(data=tmp_path_factory.mktemp("hostile"), folder=ROOT, app=LEDGER) as process:
        yield process
        assert process.exit_code is None
        assert process.stop() == 0
        assert "Traceback" not in process.log
        assert '"exception"' not in process.log, process.log


@pytest.fixture(autouse=True)
def it_lives_on(market: Process) -> Iterator[None]:
    yield
    assert market.get("/health/live").status == 200


def raw(market: Process, *parts: bytes, seconds: float = 120) -> Answer | None:
    """Send bytes as they are and read the answer; None when the server just hung up."""
    with socket.create_connection(("127.0.0.1", market.port), timeout=seconds) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has answered already and hung up
        return read_answer(connection)


def read_answer(connection: socket.socket) -> Answer | None:
    data = b""
    try:
        while not (complete := _parsed(data)):
            more = connection.recv(65_536)
            if not more:
                return None
            data += more
    except ConnectionResetError:
        return None
    return complete


def _parsed(data: bytes) -> Answer | None:
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        return None
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    if length and len(body) < int(length[1]):
        return None
    return Answer(int(head.split(b" ")[1]), head.decode("latin-1"), body)


def ask(market: Process, method: str, path: str, *headers: str, body: bytes | str = b"") -> Answer:
    """Send a well-formed request with a content length."""
    content = body.encode() if isinstance(body, str) else body
    lines = [f"{method} {path} HTTP/1.1", "Host: market", f"Content-Length: {len(content)}", *headers]
    answer = raw(market, "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + content)
    assert answer is not None, "the server hung up without an answer"
    return answer


def assert_refused(answer: Answer, status: int, code: str | None = None) -> None:
    assert answer.status == status, answer
    assert answer.problem["status"] == status
    assert code in (None, answer.problem["code"])
    assert "Traceback" not in answer.body.decode() and "/src/" not in answer.body.decode()


# --- connections ---------------------------------------------------------------------------------------------------


def test_connections_that_say_nothing_keep_nobody_from_being_answered(market: Process) -> None:
    idle = [socket.create_connection(("127.0.0.1", market.port)) for _ in range(200)]
    try:
        began = time.monotonic()
        assert market.post("/v1/accounts", {"owner": "Ada", "currency": "EUR"}).status == 201
        assert time.monotonic() - began < HEAD_SECONDS / 2
    finally:
        for connection in idle:
            connection.close()


def test_a_client_that_hangs_up_in_the_middle_of_its_body_is_forgotten(market: Process) -> None:
    def hang_up_after(length: int, body: str) -> None:
        head = f"POST /v1/accounts HTTP/1.1\r\nHost: x\r\n{JSON}\r\nContent-Length: {length}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", market.port)) as connection:
            connection.sendall(head.encode() + body.encode())

    for _ in range(20):
        hang_up_after(50, "{")
        hang_up_after(len(OPEN), OPEN)


def test_a_head_that_dribbles_is_cut_off_while_others_are_answered(market: Process) -> None:
    answers: list[Answer | None] = []

    def dribble() -> None:
        with socket.create_connection(("127.0.0.1", market.port), timeout=120) as connection:
            try:
                connection.sendall(b"GET /health/live HTTP/1.1\r\n")
                for number in range(400):
                    connection.sendall(b"X")
                    connection.settimeout(0.3)
                    try:
                        answers.append(read_answer(connection))
                        return
                    except TimeoutError:
                        assert number < 399, "it was never cut off"
            except (BrokenPipeError, ConnectionResetError):
                answers.append(None)

    slow = [threading.Thread(target=dribble) for _ in range(20)]
    for thread in slow:
        thread.start()
    while any(thread.is_alive() for thread in slow):
        began = time.monotonic()
        assert market.get("/health/ready").status == 200
        assert time.monotonic() - began < HEAD_SECONDS / 2
        time.sleep(0.2)
    assert len(answers) == 20
    assert {answer.status for answer in answers if answer} <= {408}


def test_a_body_that_dribbles_is_cut_off(market: Process) -> None:
    with socket.create_connection(("127.0.0.1", market.port), timeout=120) as connection:
        head = f"POST /v1/accounts HTTP/1.1\r\nHost: x\r\n{JSON}\r\nContent-Length: 5000\r\n\r\n"
        connection.sendall(head.encode())
        connection.settimeout(0.5)
        for _ in range(200):
            try:
                connection.sendall(b" ")
                answer = read_answer(connection)
                break
            except TimeoutError:
                continue
        else:
            pytest.fail("it was never cut off")
    assert answer is not None
    assert_refused(answer, 408, "request-timeout")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,  # somebody tries TLS
        b"EHLO mail.example\r\n\r\n",
        b"\x00" * 4096,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nno colon here\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"POST /v1/accounts HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/accounts HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
        b"POST /v1/accounts HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /v1/accounts HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
        b"POST /v1/accounts HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\nhello\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_no_http_gets_400_or_is_hung_up_on(market: Process, garbage: bytes) -> None:
    answer = raw(market, garbage)
    assert answer is None or 400 <= answer.status < 500, answer


def test_two_requests_in_one_packet_are_both_answered(market: Process) -> None:
    one = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", market.port), timeout=5) as connection:
        connection.sendall(one + one.replace(b"live", b"ready"))
        data = b""
        while data.count(b"HTTP/1.1 200") < 2:
            more = connection.recv(65_536)
            assert more, data
            data += more


# --- sizes ---------------------------------------------------------------------------------------------------------


def test_a_giant_head_is_refused(market: Process) -> None:
    answer = raw(market, b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Big: ", b"x" * 10_000_000, b"\r\n\r\n")
    assert answer is None or answer.status == 431


def test_a_hundred_thousand_headers_are_refused(market: Process) -> None:
    answer = raw(market, b"GET /health/live HTTP/1.1\r\nHost: x\r\n", b"A: b\r\n" * 100_000, b"\r\n")
    assert answer is None or answer.status == 431


def test_a_giant_path_is_refused(market: Process) -> None:
    answer = raw(market, b"GET /v1/accounts/", b"a" * 1_000_000, b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer is None or answer.status in (414, 431)


def test_a_body_that_is_announced_as_giant_is_refused_before_it_is_sent(market: Process) -> None:
    answer = raw(
        market, f"POST /v1/accounts HTTP/1.1\r\nHost: x\r\n{JSON}\r\nContent-Length: 9999999999\r\n\r\n".encode()
    )
    assert answer is not None
    assert_refused(answer, 413, "body-too-large")


def test_a_giant_body_in_chunks_is_refused(market: Process) -> None:
    chunk = b"%x\r\n%s\r\n" % (65_536, b" " * 65_536)
    head = f"POST /v1/accounts HTTP/1.1\r\nHost: x\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    answer = raw(market, head, *[chunk] * 17, b"0\r\n\r\n")
    assert answer is not None
    assert_refused(answer, 413, "body-too-large")


def test_a_body_without_an_end_is_not_read_for_ever(market: Process) -> None:
    chunk = b"%x\r\n%s\r\n" % (65_536, b" " * 65_536)
    head = f"POST /v1/accounts HTTP/1.1\r\nHost: x\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    answer = raw(market, head, *[chunk] * 1_000)
    assert answer is None or answer.status == 413


def test_a_body_of_exactly_the_limit_is_read(market: Process) -> None:
    body = OPEN.ljust(1024 * 1024)
    assert ask(market, "POST", "/v1/accounts", JSON, body=body).status == 201
    assert_refused(ask(market, "POST", "/v1/accounts", JSON, body=body + " "), 413)


# --- bodies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b'{"owner": "\xff\xfe", "currency": "EUR"}',
        b'{"owner": "\xc0\xaf", "currency": "EUR"}',
        b'{"owner": "\xed\xa0\x80", "currency": "EUR"}',
        b"\xef\xbb\xbf" + OPEN.encode(),
        OPEN.encode("utf-16"),
        b'{"owner": "Ada", "owner": "Eve", "currency": "EUR"}',
        b'{"owner": "Ada", "currency": "EUR", "x": {"a": 1, "a": 2}}',
        b'{"owner": "\\ud800", "currency": "EUR"}',
        b'{"owner": "\\udc00\\ud800", "currency": "EUR"}',
        b'{"\\ud800": 1}',
        b'{"owner": "a\\u0000b", "currency": "EUR"}',
        b'{"owner": "a\x00b", "currency": "EUR"}',
        b'{"a\\u0000b": 1, "owner": "Ada", "currency": "EUR"}',
        b'{"owner": NaN, "currency": "EUR"}',
        b'{"owner": Infinity, "currency": "EUR"}',
        b'{"owner": -Infinity, "currency": "EUR"}',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"owner": ' + b"[" * 5_000 + b"]" * 5_000 + b', "currency": "EUR"}',
        b'{"owner": "\\ud83d\\ude00", "x": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"owner": "Ada", "currency": "EUR"',
        b'{"owner": "Ada", "currency": "EUR"} {}',
        b"{'owner': 'Ada'}",
        b"{,}",
        b"nothing",
        b"\x00",
        b" ",
    ],
    ids=lambda body: repr(body[:40]),
)
def test_what_is_no_strict_json_gets_400_or_422(market: Process, body: bytes) -> None:
    answer = ask(market, "POST", "/v1/accounts", JSON, body=body)
    assert answer.status in (400, 422)
    assert_refused(answer, answer.status)


@pytest.mark.parametrize(
    "body",
    [
        "1", '"text"', "null", "true", "[]", "{}", '[{"owner": "Ada"}]',
        '{"owner": 5, "currency": "EUR"}',
        '{"owner": null, "currency": "EUR"}',
        '{"owner": ["Ada"], "currency": "EUR"}',
        '{"owner": "   ", "currency": "EUR"}',
        '{"owner": "%s", "currency": "EUR"}' % ("x" * 201),
        '{"owner": "Ada", "currency": "eur"}',
        '{"owner": "Ada", "currency": "XXX"}',
        '{"owner": "Ada", "currency": ["EUR"]}',
        '{"owner": "Ada", "currency": "EUR", "balance": 1000000}',
        '{"owner": 1e400, "currency": "EUR"}',
        '{"owner": %s, "currency": "EUR"}' % ("9" * 4_000),
        '{"owner": -%s, "currency": "EUR"}' % ("9" * 100_000),
    ],
    ids=lambda body: body[:40],
)  # fmt: skip
def test_a_body_of_the_wrong_shape_gets_422_or_400(market: Process, body: str) -> None:
    answer = ask(market, "POST", "/v1/accounts", JSON, body=body)
    assert answer.status in (400, 422)
    assert_refused(answer, answer.status)


@pytest.mark.parametrize(
    "money",
    [
        '{"amount": 1, "currency": "EUR"}',
        '{"amount": 1.5, "currency": "EUR"}',
        '{"amount": true, "currency": "EUR"}',
        '{"amount": null, "currency": "EUR"}',
        '{"amount": "NaN", "currency": "EUR"}',
        '{"amount": "1e3", "currency": "EUR"}',
        '{"amount": "1.234", "currency": "EUR"}',
        '{"amount": "1.5", "currency": "JPY"}',
        '{"amount": "-1", "currency": "EUR"}',
        '{"amount": "0", "currency": "EUR"}',
        '{"amount": " 1", "currency": "EUR"}',
        '{"amount": "\u0661", "currency": "EUR"}',
        '{"amount": "%s", "currency": "EUR"}' % ("9" * 17),
        '{"amount": "90000000000000.01", "currency": "EUR"}',
        '{"amount": "%s", "currency": "EUR"}' % ("9" * 100_000),
        '{"amount": "1", "currency": {"a": 1}}',
        '{"amount": "1", "currency": []}',
        '{"amount": {}, "currency": "EUR"}',
        '{"amount": "1"}',
        '{"amount": "1", "currency": "EUR", "more": 1}',
        '"1.00"',
        "[]",
        "null",
    ],
    ids=lambda money: money[:48].encode("ascii", "replace").decode(),
)
def test_money_that_is_none_gets_422(market: Process, money: str) -> None:
    id = market.post("/v1/accounts", {"owner": "Ada", "currency": "EUR"}).body["id"]
    assert_refused(ask(market, "POST", f"/v1/accounts/{id}/deposits", JSON, body=f'{{"money": {money}}}'), 422)


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("Content-Type: text/plain",),
        ("Content-Type: application/x-www-form-urlencoded",),
        ("Content-Type: multipart/form-data; boundary=x",),
        ("Content-Type: application/json-patch+json",),
        ("Content-Type: \xff\xfe",),
        ("Content-Type: ",),
        ("Content-Type: ; charset=utf-8",),
    ],
)
def test_a_body_that_is_not_announced_as_json_gets_415(market: Process, headers: tuple[str, ...]) -> None:
    assert_refused(ask(market, "POST", "/v1/accounts", *headers, body=OPEN), 415)


# --- paths and queries ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/v1/accounts/%", "/v1/accounts/%zz", "/v1/accounts/%00", "/v1/accounts/%ff%fe", "/v1/accounts/%ed%a0%80",
        "/v1/accounts/..%2f..%2fetc%2fpasswd", "/v1/accounts/../../etc/passwd", "/v1/accounts/1", "/v1/accounts/ ",
        f"/v1/accounts/{SOMEBODY.upper()}x", f"/v1/accounts/{SOMEBODY}%0a", f"/v1/accounts/{SOMEBODY}'--",
        f"/v1/accounts/{SOMEBODY}", f"/v1/transfers/{SOMEBODY}", f"/v1/accounts/{SOMEBODY}/entries",
        f"/v1/accounts/{SOMEBODY}/events", "/v1/accounts", "/v1/accounts/", "//", "/%2e%2e", "/v1", "/\xff",
        "/v1/admin/projections/nothing", "/v1/admin/projections/%00", "*", "http://other.example/v1/accounts/x",
    ],
)  # fmt: skip
def test_a_path_that_leads_nowhere_gets_a_4xx(market: Process, path: str) -> None:
    answer = raw(market, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode("latin-1"))
    assert answer is not None
    assert 400 <= answer.status < 500, answer


@pytest.mark.parametrize(
    "query",
    [
        "at=yesterday", "at=", "at=2026-01-01", "at=2026-01-01T00:00:00", "at=%00", "at=%ff",
        "version=x", "version=-1", "version=0", "version=1.5",
        "version=99999999999999999999999", "version=9223372036854775808", "version=2147483648", "version=",
        "version=1&version=1", "version=NaN", "version=%D9%A1", "at=2026-01-01T00:00:00Z&version=%",
    ],
)  # fmt: skip
def test_a_query_that_makes_no_sense_gets_a_4xx(market: Process, query: str) -> None:
    id = market.post("/v1/accounts", {"owner": "Ada", "currency": "EUR"}).body["id"]
    answer = raw(market, f"GET /v1/accounts/{id}?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert answer is not None
    assert_refused(answer, answer.status)
    assert 400 <= answer.status < 500


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00%2B14:00"])
@pytest.mark.parametrize("path", ["/v1/trial-balance?at=", "entries?from=", "entries?to=", "?at="])
def test_a_time_at_the_edge_of_the_calendar_is_no_error_of_the_server(market: Process, path: str, time: str) -> None:
    posted = market.post("/v1/accounts", {"owner": "Ada", "currency": "EUR"})
    account = f"/v1/accounts/{posted.body['id']}" + ("" if path.startswith("?") else "/")
    url = path if path.startswith("/") else account + path
    assert market.get(url + time, {"craton-position": posted.headers["craton-position"]}).status < 500


@pytest.mark.parametrize(
    "query",
    [
        "page=x", "page=0", "page=-1", "page=99999999999999999999", "page=1000000000&page_size=100", "page=%00",
        "page_size=101", "page_size=%D9%A1", "page=1e3", "page=",
    ],
)  # fmt: skip
def test_a_page_out_of_range_falls_back_to_the_default(market: Process, query: str) -> None:
    posted = market.post("/v1/accounts", {"owner": "Ada", "currency": "EUR"})
    seen = {"craton-position": posted.headers["craton-position"]}
    for list_of in ("entries", "events"):
        assert market.get(f"/v1/accounts/{posted.body['id']}/{list_of}?{query}", seen).status == 200


def test_a_thousand_query_fields_get_400(market: Process) -> None:
    query = urlencode({f"field{number}": number for number in range(1_000)})
    assert_refused(ask(market, "GET", f"/v1/accounts/{SOMEBODY}/entries?{query}"), 400, "malformed-query")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_a_method_that_a_path_does_not_have_gets_405_and_which_it_has(market: Process, method: str) -> None:
    answer = ask(market, method, "/v1/accounts")
    assert_refused(answer, 405, "method-not-allowed")
    assert re.search(r"^allow: .*POST", answer.head, re.IGNORECASE | re.MULTILINE)


@pytest.mark.parametrize("method", ["BREW", "get", "G\x00T", "CONNECT"])
def test_a_method_that_nobody_knows_gets_a_4xx(market: Process, method: str) -> None:
    answer = raw(market, f"{method} /v1/accounts HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert answer is None or 400 <= answer.status < 500


# --- headers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", "x" * 201, "\xff\xfe", "a\tb", "\xa0", "caf\xe9"])
def test_a_malformed_idempotency_key_gets_400(market: Process, key: str) -> None:
    assert_refused(
        ask(market, "POST", "/v1/accounts", JSON, f"Idempotency-Key: {key}", body=OPEN), 400, "malformed-header"
    )


def test_two_idempotency_keys_get_400(market: Process) -> None:
    answer = ask(market, "POST", "/v1/accounts", JSON, "Idempotency-Key: a", "Idempotency-Key: b", body=OPEN)
    assert_refused(answer, 400, "malformed-header")


def test_a_key_that_was_used_for_another_request_gets_422(market: Process) -> None:
    key = "Idempotency-Key: used-before"
    assert ask(market, "POST", "/v1/accounts", JSON, key, body=OPEN).status == 201
    again = ask(market, "POST", "/v1/accounts", JSON, key, body=OPEN.replace("Ada", "Eve"))
    assert_refused(again, 422, "idempotency-key-reused")


@pytest.mark.parametrize(
    "version",
    ["", '"', "x", "-1", "1.5", '"1', 'w/"1"', '"1" "2"', '"1", 2', "9" * 40, "\xb2", "'1'", "*, *"],
)
def test_a_malformed_if_match_gets_400(market: Process, version: str) -> None:
    id = market.post("/v1/accounts", {"owner": "Ada", "currency": "EUR"}).body["id"]
    answer = ask(
        market, "POST", f"/v1/accounts/{id}/close", JSON, f"If-Match: {version}", body='{"reason": "none left"}'
    )
    assert_refused(answer, 400, "malformed-header")


def test_a_version_that_is_past_gets_412(market: Process) -> None:
    id = market.post("/v1/accounts", {"owner": "Ada", "currency": "EUR"}).body["id"]
    answer = ask(market, "POST", f"/v1/accounts/{id}/close", JSON, 'If-Match: "7"', body='{"reason": "none left"}')
    assert_refused(answer, 412)


@pytest.mark.parametrize(
    "position",
    [
        "x",
        "ledger",
        "ledger=",
        "=1",
        "ledger=x",
        "ledger=-1",
        "ledger=1.5",
        "ledger=\xb2",
        "ledger=" + "9" * 40,
        ",",
        "5",
    ],
)
def test_a_malformed_position_gets_400(market: Process, position: str) -> None:
    answer = ask(market, "GET", f"/v1/accounts/{SOMEBODY}", f"Craton-Position: {position}")
    assert_refused(answer, 400, "malformed-header")


def test_a_position_that_is_not_there_yet_gets_503_after_a_while(market: Process) -> None:
    answer = ask(market, "GET", f"/v1/accounts/{SOMEBODY}", "Craton-Position: ledger=999999999")
    assert_refused(answer, 503)
    assert "retry-after" in answer.head.lower()


def test_positions_of_modules_that_nobody_has_are_passed_over(market: Process) -> None:
    many = ", ".join(f"module{number}=1" for number in range(1_000))
    assert_refused(ask(market, "GET", f"/v1/accounts/{SOMEBODY}", f"Craton-Position: {many}"), 404)


def test_a_thousand_refused_requests_leave_nothing_behind(market: Process) -> None:
    def resident() -> int:
        text = Path(f"/proc/{market.pid}/statm").read_text(encoding="ascii")
        return int(text.split()[1]) * 4096

    with market.client() as client:
        for _ in range(200):
            client.post("/v1/accounts", b"[" * 10_000)
        before = resident()
        for number in range(1_000):
            assert client.post(f"/v1/accounts/{number}/deposits", b"[" * 10_000).status in (400, 422)
        assert resident() - before < 16_000_000
