"""What a strict type checker must refuse in the code of an author, line by line."""

import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

AUTHORS_CODE = dedent('''
    from craton.application import Api, Hidden, Key, Policy, Projection, Repository, Row, View, command, query
    from craton.domain import Aggregate, Event, Id, Money, Recorded, Value
    from craton.runtime import App


    class AccountId(Id): ...


    class OrderId(Id): ...


    class Opened(Event):
        owner: str


    class Account(Aggregate[AccountId]):
        owner: str

        def open(self) -> None:
            self.record(Opened(owner="Ann"))
            self.record(Opened())  # refused: call-arg

        def apply(self, event: Opened) -> None:
            self.owner = event.owner
            event.owner = "Bob"  # refused: misc


    class Bank(Api):
        @command
        async def open(self, account: AccountId, owner: str) -> AccountId:
            """Open an account."""

        @query
        async def owner(self, account: AccountId) -> str:
            """Whose account it is."""


    class AccountRow(Row):
        account: Key[AccountId]
        owner: str
        pin: Hidden[str]


    class Accounts(Projection):
        def row(self, account: Account, event: Recorded[Event]) -> AccountRow:
            order: OrderId = account.id  # refused: assignment
            return AccountRow(account=account.id, owner=account.owner)  # refused: call-arg


    class Limit(Value):
        amount: Money


    class BankService(Bank):
        def __init__(self, accounts: Repository[Account], rows: View[AccountRow]) -> None:
            self.accounts, self.rows = accounts, rows

        async def open(self, account: AccountId, owner: str) -> AccountId:
            (await self.accounts.get(account)).close()  # refused: attr-defined
            return owner  # refused: return-value

        async def owner(self, account: AccountId) -> str:
            (await self.rows.get(account)).owner.amount  # refused: attr-defined
            return "Ann"


    async def use(app: App, account: AccountId, order: OrderId, limit: Limit) -> None:
        bank = app.api(Bank)
        await bank.open(order, "Ann")  # refused: arg-type
        await bank.open(account)  # refused: call-arg
        await bank.close(account)  # refused: attr-defined
        number: int = await bank.owner(account)  # refused: assignment
        limit.amount = Money.of("5", "EUR")  # refused: misc
        limit.amount + 5  # refused: operator
        Limit(Money.of("5", "EUR"))  # refused: call-arg
''')


def test_each_mistake_is_found_at_its_line_and_nothing_else_is(tmp_path: Path) -> None:
    file = tmp_path / "authors_code.py"
    file.write_text(AUTHORS_CODE, encoding="utf-8")

    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(file)],
        capture_output=True,
        text=True,
        check=False,
    )

    marked = (
        (number, re.search(r"# refused: ([\w-]+)", line)) for number, line in enumerate(AUTHORS_CODE.split("\n"), 1)
    )
    wanted = {(number, mark[1]) for number, mark in marked if mark}
    found = {(int(number), code) for number, code in re.findall(r"\.py:(\d+): error: .*\[([\w-]+)\]", checked.stdout)}
    assert found == wanted, checked.stdout
