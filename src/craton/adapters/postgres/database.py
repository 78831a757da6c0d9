"""The process's connections to one Postgres database, shared by all its modules.

A wait for a database that has fallen silent ends when its answer no longer matters. A statement that is given up,
because its caller was cancelled or its time is over, ends its connection too: the server is told in the background to
stop it, and a cancellation stays a cancellation. If the server doesn't answer even that, it counts as silent, and all
present connections are replaced.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any, Final

import asyncpg
import msgspec
import structlog

from craton.adapters.postgres.pool import Pool
from craton.adapters.postgres.refusals import LOST, is_lost, is_statements_fault, refusal
from craton.adapters.postgres.server import SESSION, keep_alive, require_suitable, warn_of_risks
from craton.application.context import context_var
from craton.domain import uuid7
from craton.ports import StoreUnavailable

CONNECTIONS: Final = 10
CONNECT_TIMEOUT_SECONDS: Final = 5.0
STATEMENT_TIMEOUT_SECONDS: Final = 30.0
END_SECONDS: Final = 2.0
"""How long a server may take to stop a statement that was given up; after that it counts as silent, in seconds."""
CLOSE_SECONDS: Final = 0.5
FROZEN_SECONDS: Final = 5
LISTEN_AGAIN_SECONDS: Final = 1.0
CHANNEL: Final = "craton"

log = structlog.get_logger("craton.postgres")


def is_given_up(problem: BaseException) -> bool:
    """Whether the error ended the wait for a statement that the server may still be running."""
    return isinstance(problem, TimeoutError) or not isinstance(problem, Exception)


def unavailable(problem: BaseException, *, maybe_executed: bool) -> StoreUnavailable:
    """The store's error for a problem of the database."""
    return StoreUnavailable(f"Postgres can't be used: {_sentence(problem)}.", maybe_executed=maybe_executed)


@asynccontextmanager
async def transaction(connection: Any, **options: Any) -> AsyncIterator[None]:
    """A transaction or savepoint. If it is given up, it isn't rolled back here: it ends with its connection."""
    begun = connection.transaction(**options)
    await begun.start()
    try:
        yield
    except BaseException as problem:
        if not is_given_up(problem) and not is_lost(connection):
            await begun.rollback()
        raise
    await begun.commit()


class _Loan(msgspec.Struct, frozen=True):
    """The use of a connection. `patient`: its user has no deadline. Connections of one generation are replaced
    together."""

    generation: int
    patient: bool
    pool: Pool


class Lending:
    """One use of a connection: `async with database.connection() as connection`."""

    __slots__ = ("_database", "_lent", "_writing")

    def __init__(self, database: "PostgresDatabase", *, writing: bool) -> None:
        self._database = database
        self._writing = writing
        self._lent: Any = None

    async def __aenter__(self) -> Any:
        self._lent = await self._database.lend()
        return self._lent

    async def __aexit__(self, _kind: Any, problem: BaseException | None, _traceback: Any) -> None:
        if problem is None:
            self._database.take_back(self._lent)
            return
        meaning = self._meaning(problem)
        if is_given_up(problem):
            self._database.give_up(self._lent)
        self._database.take_back(self._lent)
        if meaning is not None:
            raise meaning from problem

    def _meaning(self, problem: BaseException) -> Exception | None:
        """What is raised instead of an error; None if the error itself is raised."""
        if is_statements_fault(problem, self._lent):
            return refusal(problem)
        if not isinstance(problem, (*LOST, asyncpg.InterfaceError)):
            return None
        refused = isinstance(problem, asyncpg.InsufficientResourcesError | asyncpg.ReadOnlySQLTransactionError)
        return unavailable(problem, maybe_executed=self._writing and not refused)


class PostgresDatabase:
    """A pool, a listener for other processes' writes, and one combined notification after commits."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._me = uuid7()
        self._wakes: dict[str, list[Callable[[], None]]] = defaultdict(list)
        self._announced: set[str] = set()
        self._notifying = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._pool: Any = None
        self._listening: Any = None
        self._generation = 0
        self._lent: dict[Any, _Loan] = {}
        self.connects = 0
        """How often the process has connected. Each connection may have reached another server."""
        self.transactions = asyncio.Semaphore(CONNECTIONS // 2)
        """Limits interactive transactions, because each may need a second connection to read while it holds its own."""
        self._opening = asyncio.Lock()
        self._users = 0

    async def open(self) -> None:
        """Connect. Raises `StoreUnsuitable` or `StoreUnavailable` with a sentence that contains no password."""
        async with self._opening:
            if self._pool is None:
                self._pool = await self._make_pool()
                self._start(self._listen())
            self._users += 1

    async def _make_pool(self) -> Pool:
        pool = Pool(self._connect, CONNECTIONS)
        try:
            connection = await pool.acquire(CONNECT_TIMEOUT_SECONDS)
            try:
                await warn_of_risks(connection)
            except BaseException:
                connection.terminate()
                raise
        except (*LOST, asyncpg.InterfaceError, asyncpg.PostgresError, ValueError) as problem:
            # The driver's own texts name host, user or database, never the password; a bad URL might hold one.
            what = "the URL can't be read" if isinstance(problem, ValueError) else _sentence(problem)
            raise StoreUnavailable(f"Postgres can't be reached: {what}.", maybe_executed=False) from None
        pool.release(connection)
        return pool

    async def _connect(self) -> Any:
        """Return a connection to a server that is suitable."""
        connection = await asyncpg.connect(
            self._url,
            timeout=CONNECT_TIMEOUT_SECONDS,
            command_timeout=STATEMENT_TIMEOUT_SECONDS,
            server_settings=SESSION,
        )
        try:
            keep_alive(connection)
            await require_suitable(connection)
            self.connects += 1
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def close(self) -> None:
        async with self._opening:
            self._users -= 1
            if self._users == 0 and self._pool is not None:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
                try:
                    async with asyncio.timeout(CLOSE_SECONDS):
                        await self._pool.close()
                except TimeoutError:
                    for connection in self._lent:
                        connection.terminate()
                self._pool = None

    def connection(self, *, writing: bool = False) -> Lending:
        """Lend a connection. Raises `StoreUnavailable` if there is none or it is lost (`writing`: while in use).

        Raises `ChangesetRefused` for other errors of the database, which are the statement's fault.
        """
        return Lending(self, writing=writing)

    async def lend(self) -> Any:
        """A connection, which is to be taken back. Raises `StoreUnavailable`."""
        if self._pool is None:
            raise StoreUnavailable("Postgres isn't connected.", maybe_executed=False)
        try:
            lent = await self._pool.acquire(CONNECT_TIMEOUT_SECONDS)
        except (*LOST, asyncpg.InterfaceError, asyncpg.PostgresError) as problem:
            raise unavailable(problem, maybe_executed=False) from problem
        self._lent[lent] = _Loan(self._generation, context_var.get().deadline is None, self._pool)
        return lent

    def take_back(self, connection: Any) -> None:
        loan = self._lent.pop(connection, None)
        if loan is None:
            return  # it was given up
        if loan.generation != self._generation:
            connection.terminate()
        loan.pool.release(connection)

    def give_up(self, connection: Any) -> None:
        """End a borrowed connection whose statement the server may still run, in the background."""
        loan = self._lent.pop(connection, None)
        if loan is not None:
            ending = self._start(self._end(connection, loan.generation))
            ending.add_done_callback(lambda _: _discard(connection, loan))  # it may be cancelled before it begins

    async def _end(self, connection: Any, generation: int) -> None:
        try:
            async with asyncio.timeout(END_SECONDS):
                await connection.close()  # tells the server to stop the statement first
        except TimeoutError:
            if generation == self._generation:
                self._begin_anew()
        except (*LOST, asyncpg.InterfaceError, asyncpg.PostgresError):
            """The connection has ended in another way."""

    def _begin_anew(self) -> None:
        """Replace all present connections, because the cause that made one of them silent probably affects the others.

        Users with a deadline still wait until their deadline, and are told only then.
        """
        log.warning("Postgres doesn't answer; all connections to it are replaced")
        self._generation += 1
        self._pool.expire()
        hopeless = [connection for connection, loan in self._lent.items() if loan.patient]
        for connection in (*hopeless, *([self._listening] if self._listening else [])):
            connection.terminate()

    async def end_frozen(self, connection: Any) -> None:
        """End sessions of this program that have stopped in the middle of a statement: prepared but never executed.

        A process that is frozen there keeps its locks, and Postgres's own time limits don't apply, because they see it
        as active.
        """
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND usename = current_user AND application_name = 'craton' AND pid <> pg_backend_pid()"
            " AND state = 'active' AND wait_event = 'ClientRead'"
            f" AND state_change < clock_timestamp() - interval '{FROZEN_SECONDS} seconds'"
        )

    def watch(self, schema: str, wake: Callable[[], None]) -> None:
        """Call `wake` when another process announces the schema."""
        self._wakes[schema].append(wake)

    def announce(self, schema: str) -> None:
        """Tell other processes that there is something new: soon, and once for all commits until then.

        On a connection of its own and after the commit: NOTIFY inside a transaction serialises all commits of the
        cluster.
        """
        self._announced.add(schema)
        if not self._notifying:
            self._notifying = True
            self._start(self._notify())

    async def _notify(self) -> None:
        try:
            while self._announced:
                schemas, self._announced = list(self._announced), set()
                with contextlib.suppress(StoreUnavailable):  # the hint is lost; the slow poll finds the events
                    async with self.connection() as connection:
                        await connection.execute(
                            "SELECT pg_notify($1, $2 || ' ' || s) FROM unnest($3::text[]) s", CHANNEL, self._me, schemas
                        )
        finally:
            self._notifying = False

    async def _listen(self) -> None:
        """Keep a listening connection. After it was lost, wake all watchers, because hints were lost with it."""
        while True:
            with contextlib.suppress(*LOST, asyncpg.InterfaceError, asyncpg.PostgresError, StoreUnavailable):
                connection = await self._connect()
                try:
                    lost = asyncio.Event()
                    connection.add_termination_listener(lambda _: lost.set())  # noqa: B023
                    await connection.add_listener(CHANNEL, self._heard)
                    self._listening = connection
                    for schema in self._wakes:
                        self._wake(schema)
                    await lost.wait()
                finally:
                    self._listening = None
                    connection.terminate()
            await asyncio.sleep(LISTEN_AGAIN_SECONDS)

    def _heard(self, _connection: Any, _pid: int, _channel: str, payload: str) -> None:
        sender, _, schema = payload.partition(" ")
        if sender != self._me:
            self._wake(schema)

    def _wake(self, schema: str) -> None:
        for wake in self._wakes.get(schema, ()):
            wake()

    def _start(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, context=Context())  # it doesn't belong to a call
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _discard(connection: Any, loan: _Loan) -> None:
    connection.terminate()
    loan.pool.discard()


def _sentence(problem: BaseException) -> str:
    if isinstance(problem, TimeoutError):
        return "it doesn't answer in time"
    return (str(problem) or type(problem).__name__).splitlines()[0].rstrip(".")
