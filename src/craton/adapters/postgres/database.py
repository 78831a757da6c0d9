"""The process's connections to one Postgres database, shared by all its modules."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import uuid4

import asyncpg

from craton.adapters.postgres.refusals import LOST, faults_as_refusals
from craton.ports import StoreUnavailable

CONNECTIONS: Final = 10
CONNECT_TIMEOUT_SECONDS: Final = 5.0
STATEMENT_TIMEOUT_SECONDS: Final = 30.0
SESSION: Final = {
    "application_name": "craton",
    "jit": "off",
    "synchronous_commit": "on",
    "idle_in_transaction_session_timeout": "5000",
}
FROZEN_SECONDS: Final = 5
LISTEN_AGAIN_SECONDS: Final = 1.0
CHANNEL: Final = "craton"


class PostgresDatabase:
    """A pool, a listener for what other processes write, and one coalesced notification after commits."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._me = uuid4().hex
        self._wakes: dict[str, list[Callable[[], None]]] = defaultdict(list)
        self._announced: set[str] = set()
        self._notifying = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._pool: Any = None
        self.transactions = asyncio.Semaphore(CONNECTIONS // 2)
        """Bounds interactive transactions: each may need a second connection to read while it holds its own."""
        self._opening = asyncio.Lock()
        self._users = 0

    async def open(self) -> None:
        """Connect. Raises `StoreUnavailable` with a sentence that holds no password."""
        async with self._opening:
            if self._pool is None:
                self._pool = await self._connect()
                self._start(self._listen())
            self._users += 1

    async def _connect(self) -> Any:
        try:
            return await asyncpg.create_pool(
                self._url,
                min_size=1,
                max_size=CONNECTIONS,
                timeout=CONNECT_TIMEOUT_SECONDS,
                command_timeout=STATEMENT_TIMEOUT_SECONDS,
                reset=_keep,
                server_settings=SESSION,
            )
        except (*LOST, asyncpg.InterfaceError, asyncpg.PostgresError, TimeoutError, ValueError) as problem:
            # The driver's own texts name host, user or database, never the password; a bad URL might hold one.
            what = "the URL can't be read" if isinstance(problem, ValueError) else _sentence(problem)
            raise StoreUnavailable(f"Postgres can't be reached: {what}.", maybe_executed=False) from None

    async def close(self) -> None:
        async with self._opening:
            self._users -= 1
            if self._users == 0 and self._pool is not None:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._pool.close(), 5)
                self._pool = None

    @asynccontextmanager
    async def connection(self, *, writing: bool = False) -> AsyncIterator[Any]:
        """Lend a connection. Raises `StoreUnavailable` when it can't be had or is lost (`writing`: while in use).

        What else the database refuses is the fault of what it was asked for: raises `UnitRefused`.
        """
        lent = False
        try:
            async with self._pool.acquire(timeout=CONNECT_TIMEOUT_SECONDS) as connection:
                lent = True
                with faults_as_refusals(connection):
                    yield connection
        except (asyncpg.PostgresError, asyncpg.InternalClientError, asyncpg.InterfaceError, OSError) as problem:
            refused = isinstance(problem, asyncpg.InsufficientResourcesError | asyncpg.ReadOnlySQLTransactionError)
            raise StoreUnavailable(
                f"Postgres can't be used: {_sentence(problem)}.", maybe_executed=writing and lent and not refused
            ) from problem

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
            with contextlib.suppress(*LOST, asyncpg.InterfaceError, asyncpg.PostgresError, TimeoutError):
                connection = await asyncpg.connect(self._url, timeout=CONNECT_TIMEOUT_SECONDS)
                try:
                    lost = asyncio.Event()
                    connection.add_termination_listener(lambda _: lost.set())  # noqa: B023
                    await connection.add_listener(CHANNEL, self._heard)
                    for schema in self._wakes:
                        self._wake(schema)
                    await lost.wait()
                finally:
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
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _keep(_connection: Any) -> None:
    """Instead of a reset: nothing here leaves anything behind on a connection."""


def _sentence(problem: BaseException) -> str:
    return (str(problem) or type(problem).__name__).splitlines()[0].rstrip(".")
