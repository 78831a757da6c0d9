"""The unit of work: all that one use case changes, committed whole or not at all."""

import copy
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Protocol, TypeVar

from craton.application.api import operation_of
from craton.application.codec import convert, encode_text, encode_to_keep
from craton.application.context import Context
from craton.application.errors import MisuseError
from craton.domain import uuid7
from craton.domain.aggregate import AnyAggregate
from craton.ports import Isolation, Statement, Store, Timer, Transaction

T = TypeVar("T")


class Base(Protocol):
    """The commit that makes a state durable."""

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
        """When the newest event of the loaded state was recorded."""
        self.added = added
        """Whether the use case added it without looking whether there is one with this id."""
        self.from_memory = from_memory
        self.guarded = from_memory
        self.base = base
        """The commit that makes the loaded state durable, if it wasn't durable when it was loaded."""
        self.origin = origin
        """An unchanged copy of the loaded state; None if there was none, or if it isn't compared."""


class UnitOfWork:
    """All that a use case has loaded and changed so far. The runtime makes one for each command and each query."""

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
        """Whether aggregates are read from the store even if memory holds them."""
        self.tracked: dict[str, Tracked] = {}
        self.missing: set[str] = set()
        """The streams that the use case looked for and that didn't exist."""
        self.timers: list[Timer] = []
        self.statements: list[Statement] = []
        self.transaction: Transaction | None = None
        self.stack: AsyncExitStack | None = None
        self.closed = False
        """Whether its use case has ended, so that nothing can be added any more."""
        self.doomed = False
        """Whether an exception has left a transaction block, so that nothing of the unit may be committed."""

    @property
    def changed(self) -> list[Tracked]:
        """The aggregates that have recorded events."""
        return [tracked for tracked in self.tracked.values() if tracked.aggregate._recorded]

    @property
    def dirty(self) -> bool:
        return bool(self.timers or self.statements or self.changed)


_current: ContextVar[UnitOfWork | None] = ContextVar("craton_unit_of_work", default=None)


def current_unit() -> UnitOfWork | None:
    """Return the unit of work of the running use case; None outside of a use case."""
    return _current.get()


def dual_write(operation: str, module: str, outer: UnitOfWork) -> MisuseError:
    """The error of a command that was called inside another module's unit of work, or inside a query."""
    what = "a query" if outer.read_only else f"a unit of work of the module {outer.module!r}"
    return MisuseError(
        f"{operation} is a command of the module {module!r} and was called inside {what}: that would be "
        f"a dual write. Use a saga or a policy to change another module, or a query to ask it."
    )


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
    """Return the time of the application's clock."""
    return require_unit("now()").now()


def schedule(due: datetime, operation: Callable[..., Any], /, **arguments: Any) -> None:
    """Schedule a command of this module for a time. If this unit of work commits, the command runs, once.

    Raises `MisuseError` if it isn't a command, or if the time has no offset from UTC; `TypeError` for arguments that
    the command doesn't take; `NotStorable` for arguments that couldn't be read back.
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
    """The module's own tables, in plain SQL with `:named` parameters.

    Inside `transaction()`, statements take part in the transaction. Inside a command without one, `execute` adds its
    statement to the unit of work, and it runs at the commit; `fetch` reads committed data.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def execute(self, sql: str, **parameters: Any) -> int | None:
        """Run a statement. Returns the number of rows it changed, or None when it runs only at the commit."""
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
        """Run a statement that reads; return its rows by column name."""
        statement = Statement(sql, parameters)
        unit = _current.get()
        if unit is not None and unit.transaction is not None:
            return list(await unit.transaction.fetch(statement))
        return list(await self._store.fetch(statement))

    async def fetch_as(self, kind: type[T], sql: str, **parameters: Any) -> list[T]:
        """Run a statement that reads; return its rows as values of a class, whose fields are called as the columns.

        Texts are read as the fields say: as ids, as times (RFC 3339). Raises `msgspec.ValidationError` for a row that
        doesn't fit.
        """
        return [convert(row, kind, strict=False) for row in await self.fetch(sql, **parameters)]


@asynccontextmanager
async def transaction(isolation: Isolation = "read committed") -> AsyncIterator[None]:
    """Open a real transaction in the current unit of work; a nested call joins it.

    It commits with the command, so that events, the idempotency result and SQL are committed together or not at all.
    Any exception, also a cancellation, rolls everything back, and a failed COMMIT is an error for the caller.
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
