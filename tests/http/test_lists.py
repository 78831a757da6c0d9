"""Lists come in pages, newest first; a page that is out of range is the default one."""

import pytest

from tests.http.calls import money, open_account
from tests.http.client import Client

ENTRIES = 45


async def account_with_entries(client: Client) -> str:
    account = await open_account(client)
    for _ in range(ENTRIES):
        last = await client.post(f"/v1/accounts/{account}/deposits", {"money": money("1")})
    await client.get(f"/v1/accounts/{account}/entries", last.position)
    return account


async def test_a_list_says_where_in_it_a_page_is(client: Client) -> None:
    account = await account_with_entries(client)

    page = (await client.get(f"/v1/accounts/{account}/entries?page=2&page_size=10")).json

    assert page.keys() == {"items", "total", "page", "page_size", "total_pages"}
    assert (page["total"], page["page"], page["page_size"], page["total_pages"]) == (ENTRIES, 2, 10, 5)
    assert [item["balance"] for item in page["items"]] == [money(f"{n}.00") for n in range(35, 25, -1)]


@pytest.mark.parametrize("what", ["entries", "events"])
async def test_the_pages_together_are_the_whole_list(client: Client, what: str) -> None:
    account = await account_with_entries(client)

    items = [item async for item in client.pages(f"/v1/accounts/{account}/{what}", 7)]

    order = [item.get("number", item.get("version")) for item in items]
    assert order == sorted(order, reverse=True)
    assert len(set(order)) == (ENTRIES if what == "entries" else ENTRIES + 1)


@pytest.mark.parametrize("what", ["entries", "events"])
@pytest.mark.parametrize(
    ("query", "page", "size"),
    [
        ("", 1, 20),
        ("?page=0", 1, 20),
        ("?page=-1", 1, 20),
        ("?page=x", 1, 20),
        ("?page=1.5", 1, 20),
        ("?page=", 1, 20),
        ("?page=%C2%B2", 1, 20),
        ("?page=99999999999999999999", 1, 20),
        ("?page_size=0", 1, 20),
        ("?page_size=-1", 1, 20),
        ("?page_size=101", 1, 20),
        ("?page_size=x", 1, 20),
        ("?page_size=1", 1, 1),
        ("?page_size=100", 1, 100),
        ("?page=2&page_size=101", 2, 20),
    ],
)
async def test_what_is_out_of_range_falls_back_to_the_default(
    client: Client, what: str, query: str, page: int, size: int
) -> None:
    account = await open_account(client, "5")

    found = (await client.get(f"/v1/accounts/{account}/{what}{query}")).json

    assert (found["page"], found["page_size"]) == (page, size)


@pytest.mark.parametrize("what", ["entries", "events"])
@pytest.mark.parametrize("page", [4, 1_000_000_000])
async def test_a_page_behind_the_end_is_empty(client: Client, what: str, page: int) -> None:
    account = await open_account(client, "5")

    found = await client.get(f"/v1/accounts/{account}/{what}?page={page}&page_size=100")

    assert (found.status, found.json["items"]) == (200, [])
    assert found.json["total"] > 0


async def test_an_empty_list_is_an_empty_array(client: Client) -> None:
    account = await open_account(client)

    found = (await client.get(f"/v1/accounts/{account}/entries")).json

    assert found == {"items": [], "total": 0, "page": 1, "page_size": 20, "total_pages": 0}
