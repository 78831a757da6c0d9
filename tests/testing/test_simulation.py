"""Runs that can be repeated: virtual time, seeded chance and a seeded order of tasks."""

import asyncio
import time
from typing import Any

import pytest

from craton.domain import world
from craton.domain.id import uuid7
from craton.testing import run, simulate
from tests.testing.workshop import Workshop, app


async def history() -> list[Any]:
    """What some tasks do in the order in which they do it, with chance and times."""
    done: list[Any] = []

    async def act(name: str) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
            done.append((name, world.random_text(8), uuid7(), world.now()))
        await asyncio.sleep(world.random_bytes(1)[0])
        done.append((name, "ends", world.monotonic()))

    await asyncio.gather(*(act(name) for name in "abc"))
    return done


def test_the_same_seed_makes_the_same_run() -> None:
    assert simulate(7, history) == simulate(7, history)


def test_another_seed_makes_another_run_in_another_order() -> None:
    runs = [simulate(seed, history) for seed in range(4)]

    assert len({repr(found) for found in runs}) == 4
    assert len({"".join(name for name, *_ in found[:15]) for found in runs}) > 1


def test_a_virtual_hour_takes_no_time() -> None:
    async def an_hour() -> float:
        before = world.monotonic()
        await asyncio.sleep(3_600)
        return world.monotonic() - before

    started = time.monotonic()

    assert simulate(1, an_hour) == 3_600
    assert time.monotonic() - started < 60


def test_time_stands_still_while_anything_can_be_done() -> None:
    async def much() -> float:
        before = world.monotonic()
        for _ in range(1_000):
            await asyncio.sleep(0)
        return world.monotonic() - before

    assert simulate(1, much) == 0


def test_the_work_of_threads_is_done_in_the_loop() -> None:
    def divide(by: int) -> float:
        return 1 / by

    async def both() -> tuple[float, str]:
        try:
            await asyncio.to_thread(divide, 0)
        except ZeroDivisionError as problem:
            return await asyncio.to_thread(divide, 2), str(problem)
        return 0, ""

    assert simulate(1, both) == (0.5, "division by zero")


def test_a_deadlock_is_told() -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="everything waits for something that never comes"):
        simulate(1, forever)


def test_what_the_run_raises_passes_through_and_the_world_is_as_before() -> None:
    async def fail() -> None:
        raise LookupError("a bug")

    with pytest.raises(LookupError, match="a bug"):
        simulate(1, fail)
    assert world.now().year > 2025
    assert simulate(1, history) == simulate(1, history)


def test_an_app_runs_alike() -> None:
    async def repairs() -> list[str]:
        async with run(app) as running:
            made = [running.api(Workshop).bring(name) for name in ("Ann", "Bob", "Cleo")]
            ids = await asyncio.gather(*made)
            await running.turn(hours=1)
            events = [event async for event in running.app.running["workshop"].source.stored()]
            return [*ids, *map(repr, events)]

    assert simulate(3, repairs) == simulate(3, repairs)
