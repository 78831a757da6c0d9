"""The requests that most tests begin with."""

from typing import Any

from tests.http.client import Client


def money(amount: str, currency: str = "EUR") -> dict[str, str]:
    return {"amount": amount, "currency": currency}


async def open_account(client: Client, balance: str = "0", currency: str = "EUR") -> str:
    """Open an account with a balance that every later read sees; return its id."""
    opened = await client.post("/v1/accounts", {"owner": "Ada", "currency": currency})
    account, seen = str(opened.json["id"]), opened.position
    if balance != "0":
        deposited = await client.post(f"/v1/accounts/{account}/deposits", {"money": money(balance, currency)})
        seen = deposited.position
    await client.get(f"/v1/accounts/{account}", seen)
    return account


async def shown(client: Client, account: str, headers: dict[str, str] | None = None) -> Any:
    return (await client.get(f"/v1/accounts/{account}", headers)).json
