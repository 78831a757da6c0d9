"""The example is as short as it says, and it does what it says."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from craton.adapters.stores import stores
from examples.bank import AccountId, app
from tests.docs.code_lines import code_lines
from tests.http.client import Client
from tests.http.conftest import served

ANN, BOB = AccountId.derived("ann"), AccountId.derived("bob")


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with app.run(stores("sqlite", tmp_path, app.name)), served(app) as client:
        for account in (ANN, BOB):
            assert (await client.request("PUT", f"/accounts/{account}")).status == 201
        deposited = await client.post(f"/accounts/{ANN}/deposits", {"cents": 500})
        assert deposited.status == 204
        yield client


async def cents(client: Client, account: AccountId, since: dict[str, str]) -> int:
    """What an account holds, after a change that was answered."""
    return int((await client.get(f"/accounts/{account}", since)).json["cents"])


async def test_money_moves_from_one_account_to_another(client: Client) -> None:
    moved = await client.post("/transfers", {"source": ANN, "target": BOB, "cents": 200})

    assert moved.status == 204
    assert await cents(client, ANN, moved.position) == 300
    assert await cents(client, BOB, moved.position) == 200


@pytest.mark.parametrize("amount", [-200, 0, 501])
async def test_a_transfer_that_is_refused_moves_nothing(client: Client, amount: int) -> None:
    refused = await client.post("/transfers", {"source": ANN, "target": BOB, "cents": amount})
    deposited = await client.post(f"/accounts/{BOB}/deposits", {"cents": 1})

    assert (refused.status, refused.code) == (409, "amount-refused")
    assert await cents(client, ANN, deposited.position) == 500
    assert await cents(client, BOB, deposited.position) == 1


async def test_an_account_is_opened_once(client: Client) -> None:
    assert (await client.request("PUT", f"/accounts/{ANN}")).code == "already-exists"


def test_the_bank_has_at_most_fifty_lines_of_code() -> None:
    source = Path("examples/bank.py").read_text(encoding="utf-8")

    assert code_lines(source) <= 50


def test_neither_blank_lines_nor_comments_nor_docstrings_count() -> None:
    lines = (
        '"""A file."""',
        "",
        "# A comment.",
        "class A:",
        '    """A class,',
        '    and its docstring."""',
        "",
        '    b: str = """x',
        '    """',
        '    """A field."""',
    )

    assert code_lines("\n".join(lines)) == 3
