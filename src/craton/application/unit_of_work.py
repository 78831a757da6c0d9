"""The unit of work: all that one use case changes, committed whole or not at all."""

import copy
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Protocol

from craton.application.api import operation_of
from craton.application.codec import encode_text, encode_to_keep
from craton.application.context import Context
from craton.application.errors import MisuseError
from craton.domain import uuid7
from craton.domain.aggregate import AnyAggregate
from craton.ports import Isolation, Statement, Store, Timer, Transaction


class Base(Protocol):
    """The commit that a state becomes durable with."""

    done: bool
    failed: bool


class Tracked:
    """An aggregate in a unit of work, and the version it had when it came in."""

    __slots__ = ("added", "aggregate", "base", "from_memory", "guarded", "loaded", "origin", "time")

    def __init__(
        self,
        aggregate: AnyAggregate,
        loaded: int,
        *,
        from_memory: bool = False,
        base: Base | None = None,
        origin: AnyAggregate | None = None,
        added: bool = False,
        time: datetime | None = None,
    ) -> None:
        self.aggregate = aggregate
        self.loaded = loaded
        self.time = time
        """When the newest event that it was loaded from was recorded."""
        self.added = added
        """Whether the use case takes it for granted that there is none with this id, without having looked."""
        self.from_memory = from_memory
        self.guarded = from_memory
        self.base = base
        """The commit that the loaded state became durable with, if it wasn't yet."""
        self.origin = origin
        """The state that came in, which nobody changes; None if there was none, or it isn't compared with."""


class UnitOfWork:
    """What a use case has loaded and changed so far. The runtime makes one for each command and each query."""

    __slots__ = (
        "closed",
        "context",
        "doomed",
        "fresh",
        "missing",
        "module",
        "now",
        "read_only",
        "stack",
        "statements",
        "store",
        "timers",
        "tracked",
        "transaction",
    )

    def __init__(
        self,
        module: str,
        store: Store,
        context: Context,
        now: Callable[[], datetime],
        *,
        read_only: bool = False,
        fresh: bool = False,
    ) -> None:
        self.module = module
        self.store = store
        self.context = context
        self.now = now
        self.read_only = read_only
        self.fresh = fresh
        """Whether aggregates are read from the store even if memory has them."""
        self.tracked: dict[str, Tracked] = {}
        self.missing: set[str] = set()
        """The streams that the use case has looked for and that weren't there."""
        self.timers: list[Timer] = []
        self.statements: list[Statement] = []
        self.transaction: Transaction | None = None
        self.stack: AsyncExitStack | None = None
        self.closed = False
        """Whether its use case has ended, so that nothing can be added any more."""
        self.doomed = False
        """Whether an exception has left a transaction block, so that nothing of it may be committed."""

    @property
    def changed(self) -> list[Tracked]:
        """The aggregates that have recorded something."""
        return [tracked for tracked in self.tracked.values() if tracked.aggregate._recorded]

    @property
    def dirty(self) -> bool:
        return bool(self.timers or self.statements or self.changed)


_current: ContextVar[UnitOfWork | None] = ContextVar("craton_unit_of_work", default=None)


def current_unit() -> UnitOfWork | None:
    """Return the unit of work of the use case that is running, None outside of one."""
    return _current.get()


def require_unit(what: str) -> UnitOfWork:
    """Return the current unit of work. Raises `MisuseError` outside of a use case."""
    unit = _current.get()
    if unit is None:
        raise MisuseError(f"{what} works only inside a use case: call a method of the module's Api")
    if unit.closed:
        raise MisuseError(f"{what} was used by a task that has outlived its use case; await it there")
    return unit


def enter_unit(unit: UnitOfWork | None) -> Any:
    """Make a unit of work the current one; return the token for `leave_unit`."""
    return _current.set(unit)


def leave_unit(token: Any) -> None:
    _current.reset(token)


def now() -> datetime:
    """Return the time, by the clock that the application was given."""
    return require_unit("now()").now()


def schedule(due: datetime, operation: Callable[..., Any], /, **arguments: Any) -> None:
    """Have a command of this module run at a time, durably and once, if this unit of work commits.

    Raises `MisuseError` for what isn't a command, or a time that doesn't name its offset from UTC, `TypeError` for
    arguments that the command doesn't take, and `NotStorable` for those that couldn't be read back.
    """
    unit = require_unit("schedule()")
    if unit.read_only:
        raise MisuseError("a query can't schedule anything")
    command = operation_of(operation)
    if command.kind != "command":
        raise MisuseError(f"{command} is a query; only a command can be scheduled")
    if due.utcoffset() is None:
        raise MisuseError(f"{command} can't be scheduled for {due}, which has no time zone; give one, such as UTC")
    given = command.arguments(**command.bind((), arguments))
    unit.timers.append(
        Timer(
            id=uuid7(),
            due=due,
            operation=command.name,
            arguments=encode_to_keep(given, command.arguments, f"the arguments of {command}").decode(),
            metadata=encode_text({"correlation": unit.context.correlation or unit.context.id}),
        )
    )


class Database:
    """The module's own tables, in plain SQL with `:named` parameters, agnostic of transactions.

    Inside `transaction()` statements take part in it. Inside a command without one, `execute` adds its statement to
    the unit of work and it runs at the commit; `fetch` reads what is committed.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def execute(self, sql: str, **parameters: Any) -> int | None:
        """Run a statement. Returns how many rows it changed, or None when it waits for the commit."""
        statement = Statement(sql, parameters)
        unit = _current.get()
        if unit is not None and unit.read_only:
            raise MisuseError("a query can't change anything")
        if unit is not None and unit.transaction is not None:
            return await unit.transaction.execute(statement)
        if unit is not None:
            unit.statements.append(Statement(sql, copy.deepcopy(parameters)))
            return None
        async with self._store.transaction("read committed") as alone:
            return await alone.execute(statement)

    async def fetch(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        """Run a reading statement; return its rows by column name."""
        statement = Statement(sql, parameters)
        unit = _current.get()
        if unit is not None and unit.transaction is not None:
            return list(await unit.transaction.fetch(statement))
        return list(await self._store.fetch(statement))


@asynccontextmanager
async def transaction(isolation: Isolation = "read committed") -> AsyncIterator[None]:
    """Open a real transaction in the current unit of work; nested means joined.

    It commits with the command, so that events, the idempotency result and SQL stand or fall together. Any
    exception, cancellation included, rolls all of it back, and a failed COMMIT is an error to the caller.
    """
    unit = require_unit("transaction()")
    if unit.read_only:
        raise MisuseError("a query can't open a transaction; make it a command")
    if unit.transaction is None:
        if unit.statements:
            raise MisuseError("open the transaction before the first statement of the use case")
        unit.stack = AsyncExitStack()
        unit.transaction = await unit.stack.enter_async_context(unit.store.transaction(isolation))
    try:
        yield
    except BaseException:
        unit.doomed = True
        raise
