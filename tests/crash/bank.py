"""A load on the ledger, the model of what it must come to, and a look at what it came to.

The model knows nothing of the program: it is computed from the commands that were sent and how they were answered.
"""

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from craton.testing.crash import Client, Command, NoAnswer, Process, Reply, Script, Send, Sent, drive

CUSTOMERS = 6
OPENING_CENTS = 100_000
CATCH_UP_SECONDS = 300.0

Fact = tuple[str, str, str, str, int]
"""Who asked (the key), what happened, on which account, for which transfer, how many cents."""


def euros(cents: int) -> dict[str, str]:
    return {"amount": f"{cents // 100}.{cents % 100:02d}", "currency": "EUR"}


def cents(money: dict[str, str]) -> int:
    return int(money["amount"].replace(".", ""))


def transfer_command(source: str, target: str, amount: int, **more: Any) -> Command:
    return Command("/v1/transfers", {"source": source, "target": target, "money": euros(amount), **more})


def deposit_command(account: str, amount: int) -> Command:
    return Command(f"/v1/accounts/{account}/deposits", {"money": euros(amount)})


@dataclass
class Bank:
    """Some customers with money, and all that was ever asked of their ledger."""

    accounts: tuple[str, ...]
    sent: list[Sent] = field(default_factory=list)

    @classmethod
    def open(cls, process: Process, customers: int = CUSTOMERS) -> "Bank":
        """Open accounts and put money in each."""
        sent: list[Sent] = []
        with process.client() as client:

            def ask(command: Command) -> Reply:
                reply = client.send(command)
                assert reply.status == 201, reply
                sent.append(Sent(command, reply, reply, 1))
                return reply

            accounts = tuple(
                ask(Command("/v1/accounts", {"owner": f"Customer {number}", "currency": "EUR"})).body["id"]
                for number in range(customers)
            )
            for account in accounts:
                ask(deposit_command(account, OPENING_CENTS))
        return cls(accounts, sent)

    def follow(self, process: Process) -> list[Sent]:
        """Bring a cent and wait until the projections show it: now this process drives them, and not a dead one."""
        with process.client() as client:
            command = deposit_command(self.accounts[0], 1)
            reply = client.send(command)
            caught_up(client)
        return [Sent(command, reply, reply, 1)]

    @property
    def scripts(self) -> list[Script]:
        """Eight clients: some move money, some bring it, some hold it and think again, some link several transfers."""
        return [self.move, self.move, self.move, self.pay_the_same_shop, self.bring, self.hold, self.hold, self.link]

    def two(self) -> tuple[str, str]:
        """Two customers by chance."""
        source, target = random.sample(self.accounts, 2)
        return source, target

    def move(self, send: Send) -> None:
        send(transfer_command(*self.two(), random.randint(1, 500)))

    def pay_the_same_shop(self, send: Send) -> None:
        send(transfer_command(random.choice(self.accounts[1:]), self.accounts[0], random.randint(1, 100)))

    def bring(self, send: Send) -> None:
        send(deposit_command(random.choice(self.accounts), random.randint(1, 500)))

    def hold(self, send: Send) -> None:
        """Hold money; mostly with an expiry, which never comes in a test; then post it, or a part of it, or let go."""
        amount = random.randint(2, 500)
        expiry: dict[str, Any] = random.choice(({}, {"expires_in": 86_400}))
        held = send(transfer_command(*self.two(), amount, pending=True, **expiry))
        if held.ok:
            path = f"/v1/transfers/{held.body['id']}"
            send(
                random.choice(
                    (
                        Command(f"{path}/post", {}),
                        Command(f"{path}/post", {"money": euros(random.randint(1, amount))}),
                        Command(f"{path}/void", {}),
                    )
                )
            )

    def link(self, send: Send) -> None:
        """Three linked transfers, sometimes with one that can't be: then none is made."""
        orders = [transfer_command(*self.two(), random.randint(1, 200)).body for _ in range(3)]
        if random.random() < 0.3:
            orders[2]["money"] = euros(99_999_999)
        send(Command("/v1/transfers/batch", {"transfers": orders, "atomic": True}))


# --- the model -----------------------------------------------------------------------------------------------------


@dataclass
class Model:
    """What must be there, if each command had the effect that its answer says, once."""

    facts: Counter[Fact] = field(default_factory=Counter)
    balances: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    held: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    transfers: dict[str, str] = field(default_factory=dict)
    external: str = ""

    @classmethod
    def of(cls, sent: Sequence[Sent], external: str) -> "Model":
        model = cls(external=external)
        holds = {
            entry.reply.body["id"]: entry.command.body
            for entry in sent
            if entry.reply is not None and entry.reply.ok and entry.command.body.get("pending")
        }
        for entry in sent:
            if entry.reply is not None and entry.reply.ok:
                model.take(entry.command, entry.reply, holds)
        return model

    def take(self, command: Command, reply: Reply, holds: dict[str, Any]) -> None:
        body, key, path = command.body, command.key, command.path.split("/")
        match path[2:]:
            case ["accounts"]:
                self.facts[key, "AccountOpened", reply.body["id"], "", 0] += 1
            case ["accounts", account, "deposits"]:
                self.move(key, reply.body["id"], self.external, account, cents(body["money"]))
            case ["transfers"] if body.get("pending"):
                id, amount = reply.body["id"], cents(body["money"])
                self.facts[key, "MoneyHeld", body["source"], id, amount] += 1
                self.held[body["source"]] += amount
                self.transfers.setdefault(id, "pending")
            case ["transfers"]:
                self.move(key, reply.body["id"], body["source"], body["target"], cents(body["money"]))
            case ["transfers", "batch"]:
                for order, result in zip(body["transfers"], reply.body, strict=True):
                    self.move(key, result["id"], order["source"], order["target"], cents(order["money"]))
            case ["transfers", id, ("post" | "void") as verb]:
                hold = holds[id]
                amount = cents(hold["money"])
                self.facts[key, "HoldReleased", hold["source"], id, amount] += 1
                self.held[hold["source"]] -= amount
                if verb == "post":
                    self.move(key, id, hold["source"], hold["target"], cents(body.get("money", hold["money"])))
                else:
                    self.transfers[id] = "voided"
            case _:
                raise AssertionError(f"the model doesn't know {command.path}")

    def move(self, key: str, id: str, source: str, target: str, amount: int) -> None:
        self.facts[key, "MoneyDebited", source, id, amount] += 1
        self.facts[key, "MoneyCredited", target, id, amount] += 1
        self.balances[source] -= amount
        self.balances[target] += amount
        self.transfers[id] = "posted"


# --- what is there -------------------------------------------------------------------------------------------------


@dataclass
class Found:
    """What a running process says."""

    facts: Counter[Fact] = field(default_factory=Counter)
    accounts: dict[str, Any] = field(default_factory=dict)
    replays: dict[str, Any] = field(default_factory=dict)
    audited: dict[str, list[int]] = field(default_factory=dict)
    """The versions of each account's events, as the audit lists them."""
    statements: dict[str, list[Any]] = field(default_factory=dict)
    transfers: dict[str, str] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    projections: list[Any] = field(default_factory=list)
    external: str = ""

    @classmethod
    def look(cls, process: Process, bank: Bank) -> "Found":
        """Wait until the read models have caught up, then read everything."""
        found = cls()
        with process.client() as client:
            try:
                found.projections = caught_up(client)
            except TimeoutError as late:
                late.add_note(process.log)
                raise
            audits = {account: list(pages(client, f"/v1/accounts/{account}/events")) for account in bank.accounts}
            found.external = _external(audits, bank)
            audits[found.external] = list(pages(client, f"/v1/accounts/{found.external}/events"))
            for account, events in audits.items():
                found.audited[account] = [event["version"] for event in reversed(events)]
                found.facts.update(_fact(account, event) for event in events)
                shown = client.get(f"/v1/accounts/{account}").body
                found.accounts[account] = shown
                found.replays[account] = client.get(f"/v1/accounts/{account}?version={shown['version']}").body
                found.statements[account] = list(pages(client, f"/v1/accounts/{account}/entries"))
            for id in {transfer for _, _, _, transfer, _ in found.facts if transfer}:
                found.transfers[id] = client.get(f"/v1/transfers/{id}").body.get("status", "unknown")
            lines = client.get("/v1/trial-balance").body["lines"]
            found.differences = [line["difference"]["amount"] for line in lines]
        found.facts = Counter({fact: n for fact, n in found.facts.items() if fact[2] != found.external or fact[3]})
        return found


def assert_as_asked(process: Process, bank: Bank) -> Found:
    """Everything that was answered is there once, nothing else is, and all that is shown agrees with it."""
    assert all(entry.reply is not None for entry in bank.sent)
    found = Found.look(process, bank)
    model = Model.of(bank.sent, found.external)
    assert found.facts == model.facts
    assert {id: cents(shown["balance"]) for id, shown in found.accounts.items()} == dict(model.balances)
    assert all(cents(shown["held"]) == model.held[id] for id, shown in found.accounts.items())
    assert found.transfers == model.transfers
    assert found.differences == ["0.00"]
    assert found.accounts == found.replays
    for account, versions in found.audited.items():
        assert versions == list(range(1, len(versions) + 1))
        assert found.accounts[account]["version"] == versions[-1], "the projection has skipped the last events"
    assert [entry["parked"] for entry in found.projections] == [0, 0, 0]
    return found


def drive_until(
    process: Process,
    scripts: Sequence[Script],
    count: int,
    *,
    of: Callable[[Reply], bool] = lambda _: True,
    then: Callable[[], object] | None = None,
) -> list[Sent]:
    """Put the load on until so many answers (`of` a kind) have come, however long this machine takes for them.

    With `then`, that is called at this moment, under load, and the load goes on until the process is dead.
    """
    answers: list[Reply] = []
    called: list[object] = []

    def watched(script: Script) -> Script:
        def run(send: Send) -> None:
            def note(command: Command) -> Reply:
                reply = send(command)
                if of(reply):
                    answers.append(reply)
                return reply

            script(note)

        return run

    def enough() -> bool:
        if len(answers) < count or called:
            return False
        if then is not None:
            called.append(then())
        return then is None

    return drive(process, [watched(script) for script in scripts], until=enough)


def claimed_not_run(sent: Sequence[Sent]) -> set[str]:
    """The keys of the commands that were answered at first with 503 and the word that they had not run."""
    return {
        entry.command.key
        for entry in sent
        if entry.first is not None and not entry.first.final and not entry.first.body["maybe_executed"]
    }


def pages(client: Client, path: str) -> Iterator[Any]:
    """All items of a list, page by page."""
    page, total = 1, 1
    while page <= total:
        reply = client.get(f"{path}?page={page}&page_size=100")
        assert reply.status == 200, reply
        yield from reply.body["items"]
        page, total = page + 1, reply.body["total_pages"]


def caught_up(client: Client, seconds: float = CATCH_UP_SECONDS) -> list[Any]:
    """Wait until every projection has read the whole log and none is being built; return how they stand."""
    deadline = time.monotonic() + seconds
    while True:
        reply = client.get("/v1/admin/projections")
        if reply.status == 200 and not any(entry["lag"] or entry["building"] for entry in reply.body):
            projections: list[Any] = reply.body
            return projections
        if time.monotonic() > deadline:
            raise TimeoutError(f"the projections did not catch up: {reply.body}")
        time.sleep(0.05)


def _external(audits: dict[str, list[Any]], bank: Bank) -> str:
    deposits = (event for event in audits[bank.accounts[0]] if event["type"] == "MoneyCredited")
    others = {event["data"]["counterparty"] for event in deposits} - set(bank.accounts)
    (external,) = others
    assert isinstance(external, str)
    return external


def _fact(account: str, event: Any) -> Fact:
    data = event["data"]
    amount = cents(data["money"]) if "money" in data else 0
    return event["metadata"].get("key", ""), event["type"], account, data.get("transfer", ""), amount


def once(process: Process, path: str) -> Script:
    """A script that posts to an admin route a single time, then waits for the end of the process."""
    asked = threading.Event()

    def script(_: Send) -> None:
        if not asked.is_set():
            asked.set()
            assert process.post(quote(path)).status == 202
        if process.exit_code is not None:
            raise NoAnswer("the process has died")
        time.sleep(0.01)

    return script
