"""The log says what goes wrong with a saga, and how it turns: a line for each."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from craton.application.sagas.state import Status
from tests.conftest import SqlitePlace
from tests.kernel.office import Expedition, Office, opened, tours
from tests.kernel.travel import SoldOut, Weather


@pytest.fixture
def weather() -> Weather:
    return Weather()


@pytest.fixture
async def office(sqlite_place: SqlitePlace, weather: Weather) -> AsyncIterator[Office]:
    async with opened(sqlite_place, weather, tours(Expedition)) as office:
        yield office


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with capture_logs() as logs:
        yield logs


def said(logs: list[Any], *names: str) -> list[tuple[Any, ...]]:
    """The lines about sagas: what is said, and these fields of it."""
    return [(line["event"], *(line.get(name) for name in names)) for line in logs if "saga" in line or "step" in line]


async def until_said(logs: list[Any], event: str) -> None:
    """What is recorded is told a moment later."""
    while not any(line["event"] == event for line in logs):
        await asyncio.sleep(0.005)


async def test_a_step_that_fails_is_logged_each_time(office: Office, weather: Weather, logs: list[Any]) -> None:
    weather.plan("top", ConnectionError("the line is dead"), ConnectionError("still dead"))

    trip = await office.begin()
    await office.at_rest(trip, Status.COMPLETED)

    told = said(logs, "saga", "kind", "step", "attempts", "error")
    failed = [line for line in told if line[0] == "the step has failed"]
    assert failed == [
        ("the step has failed", trip, "Expedition", "top", 1, "ConnectionError: the line is dead"),
        ("the step has failed", trip, "Expedition", "top", 2, "ConnectionError: still dead"),
    ]


async def test_a_bug_in_a_step_is_logged_with_its_place(office: Office, weather: Weather, logs: list[Any]) -> None:
    weather.plan("top", TypeError("unsupported operand"))

    await office.at_rest(await office.begin(), Status.COMPLETED)

    (line,) = [line for line in logs if line["event"] == "a step has raised an unexpected error"]
    assert (line["log_level"], line["step"], type(line["exc_info"])) == ("error", "Expedition.top", TypeError)


async def test_a_refusal_and_its_consequences_are_logged(office: Office, weather: Weather, logs: list[Any]) -> None:
    weather.plan("top", SoldOut())

    await office.at_rest(await office.begin(), Status.COMPENSATED)
    await until_said(logs, "the saga was compensated")

    assert said(logs, "code") == [
        ("the step was refused", "sold-out"),
        ("the saga compensates", "sold-out"),
        ("the saga was compensated", "sold-out"),
    ]


async def test_a_saga_that_can_not_be_undone_is_logged_as_stuck(
    office: Office, weather: Weather, logs: list[Any]
) -> None:
    weather.plan("top", SoldOut())
    weather.plan("undo base", SoldOut())

    trip = await office.begin()
    await office.at_rest(trip, Status.STUCK)
    await until_said(logs, "the saga is stuck and needs an operator")

    told = said(logs, "log_level", "saga", "step")
    assert ("the undo was refused", "warning", trip, "base") in told
    assert told[-1] == ("the saga is stuck and needs an operator", "error", trip, None)


async def test_a_saga_that_succeeds_is_not_logged(office: Office, logs: list[Any]) -> None:
    await office.at_rest(await office.begin(), Status.COMPLETED)

    assert said(logs) == []
