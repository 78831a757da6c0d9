"""Errors are RFC 9457 problem details with a stable code, and never say anything internal."""

from typing import Any

import pytest

from tests.http.calls import money, open_account
from tests.http.client import Client

UNKNOWN = "0195f000-0000-7000-8000-000000000000"
MIB = 1024 * 1024


async def test_a_problem_says_type_title_status_code_and_detail(client: Client) -> None:
    refused = await client.get(f"/v1/accounts/{UNKNOWN}")

    assert refused.headers["content-type"] == "application/problem+json"
    assert (
        refused.json
        == {
            "type": "about:blank",
            "title": "Not Found",
            "status": 404,
            "code": "account-not-found",
            "detail": f"There is no account {UNKNOWN}.",
            "details": {"id": UNKNOWN},
        }
        or "type" not in refused.json
    )
    assert {"title", "status", "code", "detail"} <= refused.json.keys()


async def test_a_problem_carries_the_fields_of_the_refusal(client: Client) -> None:
    account = await open_account(client, "1")

    refused = await client.post(f"/v1/accounts/{account}/withdrawals", {"money": money("2")})

    assert refused.json["details"] == {"account": account, "available": money("1.00")}


@pytest.mark.parametrize("path", ["//", "/v1", "/v1/nothing", f"/v2/accounts/{UNKNOWN}"])
async def test_an_unknown_path_is_not_found(client: Client, path: str) -> None:
    assert ((await client.get(path)).status, (await client.get(path)).code) == (404, "not-found")


@pytest.mark.parametrize(("method", "path"), [("PUT", "/v1/accounts"), ("DELETE", "/v1/transfers"), ("POST", "/docs")])
async def test_an_unsupported_method_is_not_allowed(client: Client, method: str, path: str) -> None:
    refused = await client.request(method, path)

    assert (refused.status, refused.code) == (405, "method-not-allowed")
    assert refused.headers["allow"]


@pytest.mark.parametrize(
    "id", ["1", "not-an-id", UNKNOWN + "0", UNKNOWN[:-1] + "g", "%00", "..%2F..%2Fetc", "'%20OR%201=1", "x" * 5_000]
)
@pytest.mark.parametrize("path", ["/v1/accounts/{id}", "/v1/accounts/{id}/entries", "/v1/transfers/{id}"])
async def test_an_id_in_a_path_is_validated(client: Client, path: str, id: str) -> None:
    refused = await client.get(path.format(id=id))

    assert refused.status in (404, 422) if "%2F" in id else refused.status == 422
    if refused.status == 422:
        assert (refused.code, refused.json["path"]) in (
            ("invalid-value", "$.account"),
            ("invalid-value", "$.transfer"),
        )


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "$"),
        ({"owner": "Ada"}, "$"),
        ({"owner": "Ada", "currency": "EUR", "balance": "100"}, "$"),
        ({"owner": "Ada", "currency": "EUR", "kind": "external"}, "$"),
        ({"owner": 1, "currency": "EUR"}, "$.owner"),
        ({"owner": None, "currency": "EUR"}, "$.owner"),
        ({"owner": "x" * 201, "currency": "EUR"}, "$.owner"),
        ({"owner": "a\0b", "currency": "EUR"}, None),
        ({"owner": "Ada", "currency": "eur"}, "$.currency"),
        ({"owner": "Ada", "currency": "XXX"}, "$.currency"),
        ([], "$"),
        ("Ada", "$"),
        (1, "$"),
    ],
)
async def test_a_wrong_body_is_refused_with_the_path_of_what_is_wrong(
    client: Client, body: Any, path: str | None
) -> None:
    refused = await client.post("/v1/accounts", body)

    assert refused.status in (400, 422) if path is None else refused.status == 422
    if path is not None:
        assert (refused.code, refused.json["path"]) == ("invalid-value", path)


async def test_an_owner_of_two_hundred_characters_is_accepted(client: Client) -> None:
    assert (await client.post("/v1/accounts", {"owner": f" {'ö' * 200} ", "currency": "EUR"})).status == 201


async def test_an_unknown_field_is_refused_at_any_depth(client: Client) -> None:
    account = await open_account(client)

    outer = await client.post(f"/v1/accounts/{account}/deposits", {"money": money("1"), "fee": "0"})
    inner = await client.post(f"/v1/accounts/{account}/deposits", {"money": {**money("1"), "fee": "0"}})
    listed = await client.post(
        "/v1/transfers/batch", {"transfers": [{"source": account, "target": UNKNOWN, "money": money("1"), "x": 1}]}
    )

    assert [refused.status for refused in (outer, inner, listed)] == [422, 422, 422]
    assert listed.json["path"] == "$.transfers[0]"


@pytest.mark.parametrize(
    "amount",
    [
        12,
        12.5,
        True,
        None,
        "",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e3",
        "1,5",
        "+1",
        " 1",
        "1.",
        ".5",
        "12.345",
        "9" * 17,
    ],
)
async def test_a_malformed_amount_is_refused(client: Client, amount: Any) -> None:
    account = await open_account(client)

    refused = await client.post(f"/v1/accounts/{account}/deposits", {"money": {"amount": amount, "currency": "EUR"}})

    assert (refused.status, refused.code) == (422, "invalid-value")
    assert refused.json["path"].startswith("$.money")


@pytest.mark.parametrize("wrong", [12, 12.5, True, None, "12.00 EUR", [], {}, {"amount": "1"}, {"currency": "EUR"}])
async def test_malformed_money_is_refused(client: Client, wrong: Any) -> None:
    account = await open_account(client)

    refused = await client.post(f"/v1/accounts/{account}/deposits", {"money": wrong})

    assert (refused.status, refused.json["path"]) == (422, "$.money")


@pytest.mark.parametrize(
    ("currency", "amount", "shown"),
    [("JPY", "1200", "1200"), ("EUR", "12.3", "12.30"), ("KWD", "1.2", "1.200"), ("CLF", "0.0001", "0.0001")],
)
async def test_money_has_the_decimals_of_its_currency(client: Client, currency: str, amount: str, shown: str) -> None:
    account = await open_account(client, amount, currency)

    assert (await client.get(f"/v1/accounts/{account}")).json["balance"] == money(shown, currency)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"}",
        b"nothing",
        b'{"owner": "Ada", "owner": "Eve", "currency": "EUR"}',
        b'{"owner": NaN, "currency": "EUR"}',
        b'{"owner": Infinity, "currency": "EUR"}',
        b'{"owner": "\xff", "currency": "EUR"}',
        b'{"owner": "\\ud800", "currency": "EUR"}',
        b'{"owner": "a\\u0000b", "currency": "EUR"}',
        b'{"owner": "Ada", "currency": "EUR"} trailing',
        b"[" * 100_000,
        b'{"owner": ' + b"9" * 10_000 + b', "currency": "EUR"}',
        b"\xef\xbb\xbf{}",
    ],
)
async def test_invalid_json_is_malformed(client: Client, body: bytes) -> None:
    refused = await client.post("/v1/accounts", body)

    assert (refused.status, refused.code) == (400, "malformed-json")


@pytest.mark.parametrize("type", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "", "json"])
async def test_a_body_that_is_no_json_by_its_type_is_not_supported(client: Client, type: str) -> None:
    refused = await client.post("/v1/accounts", {"owner": "Ada", "currency": "EUR"}, {"Content-Type": type})

    assert (refused.status, refused.code) == (415, "unsupported-media-type")


@pytest.mark.parametrize("type", ["application/json; charset=utf-8", "Application/JSON"])
async def test_the_type_may_be_written_in_its_other_ways(client: Client, type: str) -> None:
    made = await client.post("/v1/accounts", {"owner": "Ada", "currency": "EUR"}, {"Content-Type": type})

    assert made.status == 201


async def test_a_body_of_one_mebibyte_is_read(client: Client) -> None:
    head, tail = b'{"owner": "Ada", "currency": "EUR"', b"}"

    read = await client.post("/v1/accounts", head + b" " * (MIB - len(head) - len(tail)) + tail)

    assert read.status == 201


async def test_a_body_over_one_mebibyte_is_too_large(client: Client) -> None:
    refused = await client.post("/v1/accounts", b" " * (MIB + 1))

    assert (refused.status, refused.code) == (413, "body-too-large")


async def test_a_body_that_does_not_say_its_size_is_bounded_too(client: Client) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"

    refused = await client.request(
        "POST",
        "/v1/accounts",
        chunk * 17 + b"0\r\n\r\n",
        {"Transfer-Encoding": "chunked", "Content-Type": "application/json"},
    )

    assert (refused.status, refused.code) == (413, "body-too-large")


@pytest.mark.parametrize(
    "query",
    ["at=yesterday", "at=2026-01-31", "at=2026-01-31T12:00:00", "version=x", "version=1.5", "version=true"],
)
async def test_a_wrong_query_is_refused_with_the_path_of_what_is_wrong(client: Client, query: str) -> None:
    account = await open_account(client)

    refused = await client.get(f"/v1/accounts/{account}?{query}")

    assert (refused.status, refused.json["path"]) == (422, f"$.{query.partition('=')[0]}")


async def test_a_query_field_that_occurs_twice_is_malformed(client: Client) -> None:
    account = await open_account(client)

    assert (await client.get(f"/v1/accounts/{account}?version=1&version=2")).status == 400


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00"])
@pytest.mark.parametrize("path", ["/v1/trial-balance?at={at}", "/v1/accounts/{account}/entries?from={at}"])
async def test_a_time_beyond_the_calendar_is_a_wrong_value_and_no_server_error(
    client: Client, path: str, at: str
) -> None:
    account = await open_account(client)

    assert (await client.get(path.format(account=account, at=at))).status in (200, 422)


@pytest.mark.parametrize("version", ["0", "-1", "99", "99999999999999999999999999"])
async def test_a_version_that_never_was_is_not_found(client: Client, version: str) -> None:
    account = await open_account(client)

    assert (await client.get(f"/v1/accounts/{account}?version={version}")).status in (404, 422)


async def test_a_head_that_is_too_large_is_refused_with_a_problem(client: Client) -> None:
    refused = await client.raw(b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 200_000 + b"\r\n\r\n")

    assert (refused.status, refused.headers["content-type"]) == (431, "application/problem+json")


@pytest.mark.parametrize("seconds", [0, -1, 31_536_001, 1.5, "60", True, 10**30])
async def test_an_expiry_is_a_whole_number_of_seconds_within_a_year(client: Client, seconds: Any) -> None:
    source, target = await open_account(client, "10"), await open_account(client)
    hold = {"source": source, "target": target, "money": money("1"), "pending": True, "expires_in": seconds}

    refused = await client.post("/v1/transfers", hold)

    assert (refused.status, refused.json["path"]) == (422, "$.expires_in")
