"""What operators see and do, as tests say it; and a safe, whose log holds secrets."""

from datetime import UTC, datetime
from typing import Any, Final

from craton.application import Api, CommandKey, Context, Module, Paging, Repository, command
from craton.application.api import operation_of
from craton.domain import Aggregate, Event, Id, Secret, uuid7
from craton.ports import Changeset, ParkedEvent, Store, StoredEvent
from craton.runtime import App
from craton.runtime.commands.results import Answer
from craton.runtime.committer import write_alone
from craton.runtime.operations.api import AuditEntry, EventEntry

OLGA: Final = "olga"
NOON: Final = datetime(2026, 5, 17, 12, tzinfo=UTC)


async def act(
    app: App, method: Any, /, *arguments: Any, actor: str = OLGA, under: str | None = None, **named: Any
) -> Answer:
    """Call an operation of `Operations` as an adapter does, by default for olga; `under` is the idempotency key."""
    operation = operation_of(method)
    context = Context(actor=actor, correlation="call-1", key=None if under is None else CommandKey(under))
    return await app.operate(operation, operation.bind(arguments, named), context)


async def audited(app: App, module: str | None = None) -> list[AuditEntry]:
    """All that operators have done, oldest first."""
    page = await app.operations.audit(module=module, paging=Paging(1, 1_000))
    return list(reversed(page.items))


async def pages_of_events(app: App, limit: int, **wanted: Any) -> list[EventEntry]:
    """The events that match, newest first, page by page to the beginning."""
    found: list[EventEntry] = []
    after = ""
    while True:
        page = await app.operations.events(**wanted, after=after, limit=limit)
        assert len(page.events) <= limit
        assert page.next != after or not after
        found += page.events
        after = page.next
        if not after:
            return found


async def park(
    store: Store, reader: str, position: int, key: str, error: str = "ValueError: a bug", at: datetime = NOON
) -> None:
    """Park an event for a reader, as the process that runs the reader would."""
    event = StoredEvent(f"jar-{key}", 1, uuid7(), "CoinPut", 1, '{"amount":1}', "{}", at, position)
    entry = ParkedEvent(reader, position, key, error, 1 if error else 0, at, event=event)
    await write_alone(store, Changeset(parked=[entry]))


# --- a module whose log holds secrets ---------------------------------------------------------------------------------


class SafeId(Id):
    pass


class CodeSet(Event):
    owner: str
    code: Secret


class Opened(Event):
    times: int = 1


class Safe(Aggregate[SafeId]):
    owner: str = ""
    code: Secret = Secret("")
    opened: int = 0

    def apply(self, event: CodeSet | Opened) -> None:
        match event:
            case CodeSet(owner=owner, code=code):
                self.owner, self.code = owner, code
            case Opened(times=times):
                self.opened += times


class Safes(Api):
    @command
    async def set_code(self, safe: SafeId, owner: str, code: Secret) -> None:
        """Set the code of a safe."""

    @command
    async def open(self, safe: SafeId) -> None:
        """Open it once."""


class SafeService(Safes):
    def __init__(self, safes: Repository[Safe]) -> None:
        self._safes = safes

    async def set_code(self, safe: SafeId, owner: str, code: Secret) -> None:
        (await self._safes.find_or_add(safe)).record(CodeSet(owner=owner, code=code))

    async def open(self, safe: SafeId) -> None:
        (await self._safes.get(safe)).record(Opened())


def safes(**parts: Any) -> Module:
    return Module("safes", api=Safes, service=SafeService, **parts)
