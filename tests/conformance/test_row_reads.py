"""Rows that are asked for at the same time are read together, and each caller gets what it would get alone."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from craton.adapters.postgres.row_reads import AT_ONCE, RowReads
from craton.application.context import Context, entered
from craton.domain import world
from craton.ports import StatementFailed, StoreUnavailable, Table, TableColumn

WORDS = Table("words", (TableColumn("word", "text"),), ())


class Shelf:
    """Rows that are read only when the test lets a read end."""

    def __init__(self) -> None:
        self.reads: list[list[str]] = []
        self.ends: list[asyncio.Future[None]] = []

    async def read(self, _table: Table, keys: Sequence[tuple[Any, ...]]) -> Sequence[str | None]:
        self.reads.append([key[0] for key in keys])
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ends.append(end)
        await end
        if any(key[0] == "bad" for key in keys):
            raise StatementFailed("this key can't be read")
        return [f"the row of {key[0]}" for key in keys]

    async def let_all_end(self) -> None:
        """Let reads end until none has begun meanwhile."""
        while any(not end.done() for end in self.ends):
            for end in self.ends:
                if not end.done():
                    end.set_result(None)
            for _ in range(10):
                await asyncio.sleep(0)


def ask(reads: RowReads, *words: str) -> asyncio.Task[Sequence[str | None]]:
    return asyncio.create_task(reads.get(WORDS, [(word,) for word in words]))


async def begun(reads: RowReads, *words: str) -> list[asyncio.Task[Sequence[str | None]]]:
    tasks = [ask(reads, word) for word in words]
    await asyncio.sleep(0)
    return tasks


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


async def test_what_is_asked_for_while_reads_run_is_read_together_by_the_next_one(shelf: Shelf) -> None:
    reads = RowReads(shelf.read)
    first = await begun(reads, *(f"first-{number}" for number in range(AT_ONCE)))
    later = [*await begun(reads, "a", "b"), ask(reads, "c", "d")]
    await asyncio.sleep(0)
    assert len(shelf.reads) == AT_ONCE

    await shelf.let_all_end()

    assert shelf.reads[AT_ONCE:] == [["a", "b", "c", "d"]]
    assert [task.result() for task in later] == [
        ["the row of a"],
        ["the row of b"],
        ["the row of c", "the row of d"],
    ]
    assert all(task.done() for task in first)


async def test_keys_that_cannot_be_read_fail_only_for_their_caller(shelf: Shelf) -> None:
    reads = RowReads(shelf.read)
    await begun(reads, *("first",) * AT_ONCE)
    good, bad, other = await begun(reads, "good", "bad", "other")

    await shelf.let_all_end()

    assert (good.result(), other.result()) == (["the row of good"], ["the row of other"])
    assert isinstance(bad.exception(), StatementFailed)


async def test_nothing_is_read_for_a_caller_that_has_gone(shelf: Shelf) -> None:
    reads = RowReads(shelf.read)
    await begun(reads, *("first",) * AT_ONCE)
    gone, here = await begun(reads, "gone", "here")
    gone.cancel()
    await asyncio.sleep(0)

    await shelf.let_all_end()

    assert shelf.reads[AT_ONCE:] == [["here"]]
    assert here.result() == ["the row of here"]


async def test_a_caller_that_goes_during_the_read_takes_nothing_from_the_others(shelf: Shelf) -> None:
    reads = RowReads(shelf.read)
    alone, *_ = await begun(reads, *("first",) * AT_ONCE)
    gone, here = await begun(reads, "gone", "here")
    alone.cancel()
    await asyncio.sleep(0.001)
    gone.cancel()

    await shelf.let_all_end()

    assert here.result() == ["the row of here"]
    assert gone.cancelled()


async def test_a_store_that_is_away_is_away_for_all_that_ask_together(shelf: Shelf) -> None:
    async def read(table: Table, keys: Sequence[tuple[Any, ...]]) -> Sequence[str | None]:
        await shelf.read(table, keys)
        raise StoreUnavailable("away", maybe_executed=False)

    reads = RowReads(read)
    tasks = [*await begun(reads, *("first",) * AT_ONCE), *await begun(reads, "a", "b")]

    await shelf.let_all_end()

    assert all(isinstance(task.exception(), StoreUnavailable) for task in tasks)


async def test_a_read_together_is_given_up_when_the_last_deadline_has_passed(shelf: Shelf) -> None:
    reads = RowReads(shelf.read)
    first = await begun(reads, *("first",) * AT_ONCE)
    with entered(Context(deadline=world.monotonic() + 0.02)):
        late = ask(reads, "late")
        await asyncio.sleep(0)
    first[0].cancel()

    with pytest.raises(StoreUnavailable):
        await late

    await shelf.let_all_end()


async def test_after_all_have_their_rows_a_caller_reads_at_once_again(shelf: Shelf) -> None:
    reads = RowReads(shelf.read)
    await begun(reads, *("first",) * (AT_ONCE + 1))
    await shelf.let_all_end()

    await begun(reads, "a", "b")

    assert shelf.reads[-2:] == [["a"], ["b"]]
    await shelf.let_all_end()
