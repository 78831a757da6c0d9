"""The pool lends each connection to one user at a time, and loses neither a connection nor a place for one."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from craton.adapters.postgres import PostgresDatabase
from craton.adapters.postgres.pool import IDLE_SECONDS, Pool
from craton.domain import world

PATIENCE = 30.0


class Later(world.World):
    """A world in which a test lets time pass."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[Pool]:
    made: list[Any] = []

    async def connect() -> Any:
        made.append(await asyncpg.connect(postgres_url))
        return made[-1]

    yield Pool(connect, 2)
    for connection in made:
        connection.terminate()


async def test_a_connection_that_is_free_is_lent_again(pool: Pool) -> None:
    first = await pool.acquire(PATIENCE)
    pool.release(first)

    assert await pool.acquire(PATIENCE) is first


async def test_no_more_are_lent_than_the_pool_may_have(pool: Pool) -> None:
    await pool.acquire(PATIENCE)
    await pool.acquire(PATIENCE)

    with pytest.raises(TimeoutError):
        await pool.acquire(0.01)


async def test_the_user_that_has_waited_longest_gets_the_connection_that_comes_back(pool: Pool) -> None:
    lent = [await pool.acquire(PATIENCE), await pool.acquire(PATIENCE)]
    waiting = [asyncio.create_task(pool.acquire(PATIENCE)) for _ in range(2)]
    await asyncio.sleep(0)

    pool.release(lent[0])

    assert await waiting[0] is lent[0]
    assert not waiting[1].done()
    waiting[1].cancel()


async def test_a_connection_given_to_a_user_that_has_just_gone_is_lent_to_another(pool: Pool) -> None:
    lent = [await pool.acquire(PATIENCE), await pool.acquire(PATIENCE)]
    gone = asyncio.create_task(pool.acquire(PATIENCE))
    await asyncio.sleep(0)

    pool.release(lent[0])
    gone.cancel()
    await asyncio.wait([gone])

    assert await pool.acquire(PATIENCE) is lent[0]


async def test_a_closed_connection_is_replaced(pool: Pool) -> None:
    lent = await pool.acquire(PATIENCE)
    await pool.acquire(PATIENCE)
    waiting = asyncio.create_task(pool.acquire(PATIENCE))
    await asyncio.sleep(0)

    await lent.close()
    pool.release(lent)

    assert await (await waiting).fetchval("SELECT 1") == 1


async def test_a_server_that_refuses_takes_no_place(postgres_url: str) -> None:
    refusals = iter([OSError("refused"), OSError("refused"), None])

    async def connect() -> Any:
        refusal = next(refusals)
        if refusal is not None:
            raise refusal
        return await asyncpg.connect(postgres_url)

    pool = Pool(connect, 1)
    for _ in range(2):
        with pytest.raises(OSError, match="refused"):
            await pool.acquire(PATIENCE)

    connection = await pool.acquire(PATIENCE)

    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


async def test_one_that_was_not_needed_for_long_is_closed(pool: Pool) -> None:
    with world.replaced_by(Later()) as later:
        old, new = await pool.acquire(PATIENCE), await pool.acquire(PATIENCE)
        pool.release(old)
        later.seconds += IDLE_SECONDS
        pool.release(new)

    assert old.is_closed()
    assert await pool.acquire(PATIENCE) is new


async def test_a_connection_that_is_given_up_is_closed_though_the_database_is_closed_at_once(
    postgres_url: str,
) -> None:
    database = PostgresDatabase(postgres_url)
    await database.open()
    connection = await database.lend()

    database.give_up(connection)
    await database.close()

    assert connection.is_closed()


async def test_closing_waits_for_what_is_lent_and_refuses_those_that_wait(pool: Pool) -> None:
    lent = [await pool.acquire(PATIENCE), await pool.acquire(PATIENCE)]
    waiting = asyncio.create_task(pool.acquire(PATIENCE))
    await asyncio.sleep(0)
    closing = asyncio.create_task(pool.close())
    await asyncio.sleep(0)

    for connection in lent:
        pool.release(connection)
    await closing

    assert all(connection.is_closed() for connection in lent)
    assert isinstance(waiting.exception(), asyncpg.InterfaceError)
