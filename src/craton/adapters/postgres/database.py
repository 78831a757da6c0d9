"""The process's connections to one Postgres database, shared by all its modules.

Nobody waits for a database that has fallen silent longer than for an answer that still matters. A statement that is
given up, because its caller was cancelled or its time is over, takes its connection with it: the server is told to stop
it, in the background, and a cancellation stays a cancellation. A server that doesn't even answer to that is silent, so
that all connections there are now are made anew.
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

from craton.adapters.postgres.refusals import LOST, faults_as_refusals, is_lost
from craton.adapters.postgres.server import SESSION, keep_alive, require_suitable, warn_of_risks
from craton.application.context import context_var
from craton.domain import uuid7
from craton.ports import StoreUnavailable

CONNECTIONS: Final = 10
CONNECT_TIMEOUT_SECONDS: Final = 5.0
STATEMENT_TIMEOUT_SECONDS: Final = 30.0
END_SECONDS: Final = 2.0
"""So long a server may take to stop a statement that was given up; one that takes longer is silent."""
CLOSE_SECONDS: Final = 0.5
FROZEN_SECONDS: Final = 5
LISTEN_AGAIN_SECONDS: Final = 1.0
CHANNEL: Final = "craton"

log = structlog.get_logger("craton.postgres")


def is_given_up(problem: BaseException) -> bool:
    """Whether it ended the wait for a statement, which the server may still run."""
    return isinstance(problem, TimeoutError) or not isinstance(problem, Exception)


def unavailable(problem: BaseException, *, maybe_executed: bool) -> StoreUnavailable:
    """What a store says of a problem of the database's."""
    return StoreUnavailable(f"Postgres can't be used: {_sentence(problem)}.", maybe_executed=maybe_executed)


@asynccontextmanager
async def transaction(connection: Any, **options: Any) -> AsyncIterator[None]:
    """A transaction or savepoint. One that is given up isn't rolled back here: it ends with its connection."""
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
    """A connection's use. `patient`: its user has no deadline. Those of one generation are made anew together."""

    generation: int
    patient: bool


class PostgresDatabase:
    """A pool, a listener for what other processes write, and one coalesced notification after commits."""

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
        """How often the process has connected: each time it may have been to another server."""
        self.transactions = asyncio.Semaphore(CONNECTIONS // 2)
        """Bounds interactive transactions: each may need a second connection to read while it holds its own."""
        self._opening = asyncio.Lock()
        self._users = 0

    async def open(self) -> None:
        """Connect. Raises `StoreUnsuitable` or `StoreUnavailable` with a sentence that holds no password."""
        async with self._opening:
            if self._pool is None:
                self._pool = await self._make_pool()
                self._start(self._listen())
            self._users += 1

    async def _make_pool(self) -> Any:
        try:
            pool = await asyncpg.create_pool(
                self._url, min_size=0, max_size=CONNECTIONS, reset=_keep, connect=self._connect
            )
            try:
                connection = await pool.acquire(timeout=CONNECT_TIMEOUT_SECONDS)
                await warn_of_risks(connection)
                await pool.release(connection)
            except BaseException:
                pool.terminate()
                raise
        except (*LOST, asyncpg.InterfaceError, asyncpg.PostgresError, ValueError) as problem:
            # The driver's own texts name host, user or database, never the password; a bad URL might hold one.
            what = "the URL can't be read" if isinstance(problem, ValueError) else _sentence(problem)
            raise StoreUnavailable(f"Postgres can't be reached: {what}.", maybe_executed=False) from None
        return pool

    async def _connect(self, url: str, **options: Any) -> Any:
        """Return a connection to a server that was found suitable."""
        connection = await asyncpg.connect(
            url,
            timeout=CONNECT_TIMEOUT_SECONDS,
            command_timeout=STATEMENT_TIMEOUT_SECONDS,
            server_settings=SESSION,
            **options,
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
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CLOSE_SECONDS):
                        await self._pool.close()
                self._pool = None

    @asynccontextmanager
    async def connection(self, *, writing: bool = False) -> AsyncIterator[Any]:
        """Lend a connection. Raises `StoreUnavailable` when it can't be had or is lost (`writing`: while in use).

        What else the database refuses is the fault of what it was asked for: raises `ChangesetRefused`.
        """
        lent = None
        try:
            lent = await self._pool.acquire(timeout=CONNECT_TIMEOUT_SECONDS)
            self._lent[lent] = _Loan(self._generation, patient=context_var.get().deadline is None)
            with faults_as_refusals(lent):
                yield lent
        except BaseException as problem:
            if lent is not None and is_given_up(problem):
                self.give_up(lent)
            at_fault = (*LOST, asyncpg.InterfaceError, *(() if lent else (asyncpg.PostgresError,)))
            if not isinstance(problem, at_fault):
                raise  # what is wrong is the statement
            refused = isinstance(problem, asyncpg.InsufficientResourcesError | asyncpg.ReadOnlySQLTransactionError)
            raise unavailable(problem, maybe_executed=writing and lent is not None and not refused) from problem
        finally:
            if self._lent.pop(lent, None) is not None:
                await self._pool.release(lent)

    def give_up(self, connection: Any) -> None:
        """End a borrowed connection, whose statement the server may still run; nobody waits for that."""
        loan = self._lent.pop(connection, None)
        if loan is not None:
            self._start(self._end(connection, loan.generation))

    async def _end(self, connection: Any, generation: int) -> None:
        try:
            async with asyncio.timeout(END_SECONDS):
                await connection.close()  # tells the server to stop the statement first
        except TimeoutError:
            if generation == self._generation:
                await self._begin_anew()
        except (*LOST, asyncpg.InterfaceError, asyncpg.PostgresError):
            """It has ended in another way."""

    async def _begin_anew(self) -> None:
        """Use none of the connections that there are: what made one of them silent hardly spared the others.

        Those whose users have a deadline wait for it all the same: they are told so then, and not before.
        """
        log.warning("Postgres is silent; all connections to it are made anew")
        self._generation += 1
        await self._pool.expire_connections()
        hopeless = [connection for connection, loan in self._lent.items() if loan.patient]
        for connection in (*hopeless, *([self._listening] if self._listening else [])):
            connection.terminate()

    async def end_frozen(self, connection: Any) -> None:
        """End sessions of this program that have stopped in the middle of a statement: prepared, and never sent.

        A process that is frozen there holds its locks, and Postgres's own limits look away: to them it is active.
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
        """Tell other processes, soon and once for all that was committed until then, that there is something new.

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
                with contextlib.suppress(StoreUnavailable):  # a lost hint: the slow poll stands behind it
                    async with self.connection() as connection:
                        await connection.execute(
                            "SELECT pg_notify($1, $2 || ' ' || s) FROM unnest($3::text[]) s", CHANNEL, self._me, schemas
                        )
        finally:
            self._notifying = False

    async def _listen(self) -> None:
        """Keep a listening connection; after it was lost, wake everybody, since hints were lost with it."""
        while True:
            with contextlib.suppress(*LOST, asyncpg.InterfaceError, asyncpg.PostgresError, StoreUnavailable):
                connection = await self._connect(self._url)
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

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work, context=Context())  # it is no part of a call
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _keep(_connection: Any) -> None:
    """Instead of a reset: nothing here leaves anything behind on a connection."""


def _sentence(problem: BaseException) -> str:
    if isinstance(problem, TimeoutError):
        return "it doesn't answer in time"
    return (str(problem) or type(problem).__name__).splitlines()[0].rstrip(".")
