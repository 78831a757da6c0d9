"""craton sagas: how they stand, and what an operator does about one that is stuck."""

import asyncio
import shutil
from pathlib import Path

import msgspec
import pytest

from craton.application.sagas.state import Status
from tests.cli.conftest import Data, Ended, craton
from tests.conftest import SqlitePlace
from tests.kernel.office import Expedition, opened, tours
from tests.kernel.travel import SoldOut, TripId, Weather

NEWER = "tests.cli.travel_app:newer"
NOBODY = "01a21c69-be90-7657-b2fa-76fa96db38a3"


class Travel(msgspec.Struct, frozen=True):
    """A folder with sagas in it: one that is complete, and one that is stuck because its base can't be undone."""

    folder: Path
    complete: TripId
    stuck: TripId

    def craton(self, *arguments: str) -> Ended:
        """Run a command about them."""
        return craton(*arguments, "--data", str(self.folder), env={"CRATON_APP": "tests.cli.travel_app:app"})

    def status(self) -> str:
        """How the stuck one stands now."""
        (saga,) = self.craton("sagas", "show", self.stuck, "--json").records
        return str(saga["status"])

    def settled(self) -> Status:
        """Run the application until the stuck one is at rest; return how it stands then."""

        async def run() -> Status:
            async with opened(SqlitePlace(self.folder), Weather(), tours(Expedition)) as office:
                while (saga := await office.saga(self.stuck)).status in (Status.RUNNING, Status.COMPENSATING):
                    await asyncio.sleep(0.01)
                return saga.status

        return asyncio.run(run())

    def catch_up(self) -> None:
        """Run the application until its list of sagas is up to date."""

        async def run() -> None:
            async with opened(SqlitePlace(self.folder), Weather(), tours(Expedition)) as office:
                home = office.app.running["tours"].store
                while await home.checkpoint("sagas@1") < await home.head():
                    await asyncio.sleep(0.01)

        asyncio.run(run())


@pytest.fixture(scope="module")
def travelled(tmp_path_factory: pytest.TempPathFactory) -> Travel:
    """Made once; tests that change it take a copy (`travel`)."""
    folder = tmp_path_factory.mktemp("travel")

    async def fill() -> Travel:
        weather = Weather()
        async with opened(SqlitePlace(folder), weather, tours(Expedition)) as office:
            complete = await office.begin()
            await office.at_rest(complete, Status.COMPLETED)
            weather.plan("top", SoldOut())
            weather.plan("undo base", SoldOut())
            stuck = await office.begin()
            await office.at_rest(stuck, Status.STUCK)
            home = office.app.running["tours"].store
            while await home.checkpoint("sagas@1") < await home.head():
                await asyncio.sleep(0.01)
            return Travel(folder, complete, stuck)

    return asyncio.run(fill())


@pytest.fixture
def travel(travelled: Travel, tmp_path: Path) -> Travel:
    folder = tmp_path / "var"
    shutil.copytree(travelled.folder, folder)
    return msgspec.structs.replace(travelled, folder=folder)


def test_the_sagas_are_listed_newest_first(travelled: Travel) -> None:
    listed = travelled.craton("sagas", "list", "--json")

    assert [(saga["id"], saga["status"]) for saga in listed.records] == [
        (travelled.stuck, "stuck"),
        (travelled.complete, "completed"),
    ]
    assert travelled.craton("sagas", "list").lines[0].split()[:3] == ["id", "saga", "status"]


@pytest.mark.parametrize(
    ("options", "count"),
    [
        *((("--status", "stuck"), 1), (("--status", "running"), 0), (("--kind", "Expedition"), 2)),
        *(
            (("--kind", "Voyage"), 0),
            (("--code", "sold-out"), 1),
            (("--kind", "Expedition", "--status", "completed"), 1),
        ),
    ],
)
def test_the_sagas_are_listed_by_kind_status_and_code(travelled: Travel, options: tuple[str, ...], count: int) -> None:
    listed = travelled.craton("sagas", "list", "--json", *options)

    assert (listed.code, len(listed.records)) == (0, count)


def test_a_saga_is_shown_step_by_step(travelled: Travel) -> None:
    shown = travelled.craton("sagas", "show", travelled.stuck)
    (saga,) = travelled.craton("sagas", "show", travelled.stuck, "--json").records

    assert shown.lines[0] == (
        f"Expedition {travelled.stuck}: stuck (sold-out; There is none left.; base can't be undone)"
    )
    assert [line.split()[0] for line in shown.lines[1:]] == ["name", "base", "left", "right", "top", "home"]
    assert [step["status"] for step in saga["steps"]] == ["undo-failed", "undone", "undone", "refused", "idle"]


def test_what_is_stuck_is_tried_again_as_soon_as_a_server_runs(travel: Travel) -> None:
    retried = travel.craton("sagas", "retry", travel.stuck, "--reason", "it is open again")

    assert (retried.code, retried.out) == (0, f"{travel.stuck} goes on as soon as a server runs.\n")
    assert travel.status() == "compensating"
    assert travel.settled() is Status.COMPENSATED
    (entry,) = travel.craton("audit", "--json").records
    assert (entry["module"], entry["verb"], entry["reason"]) == ("tours", "retry_saga", "it is open again")


def test_a_step_is_skipped(travel: Travel) -> None:
    skipped = travel.craton("sagas", "skip", travel.stuck, "base", "--reason", "it is torn down")

    assert (skipped.code, skipped.out) == (0, f"base of {travel.stuck} counts as done.\n")
    assert travel.settled() is Status.COMPENSATED


def test_a_saga_is_resolved(travel: Travel) -> None:
    resolved = travel.craton("sagas", "resolve", travel.stuck, "--note", "she was paid")

    assert (resolved.code, resolved.out) == (0, f"{travel.stuck} is resolved.\n")
    assert travel.status() == "resolved"
    (entry,) = travel.craton("audit", "--json").records
    assert (entry["verb"], entry["reason"]) == ("resolve_saga", "she was paid")


def test_a_saga_that_runs_is_turned_round(travel: Travel) -> None:
    async def begin() -> TripId:
        weather = Weather()
        weather.plan("top", asyncio.Event())
        async with opened(SqlitePlace(travel.folder), weather, tours(Expedition)) as office:
            trip = await office.begin()
            await weather.called("top")
            return trip

    running = msgspec.structs.replace(travel, stuck=asyncio.run(begin()))

    ordered = running.craton("sagas", "compensate", running.stuck, "--reason", "there is a storm")

    assert (ordered.code, ordered.out) == (0, f"{running.stuck} compensates as soon as a server runs.\n")
    assert running.settled() is Status.COMPENSATED


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("show", NOBODY), 1, "There is no saga"),
        (("show", "nonsense"), 2, "'nonsense' isn't the id of a saga"),
        (("retry", "nonsense", "--reason", "why"), 2, "isn't the id of a saga"),
        (("retry", NOBODY, "--reason", "why"), 1, "There is no saga"),
        (("retry", "{stuck}"), 1, "reason"),
        (("retry", "{stuck}", "--reason", " "), 1, "reason"),
        (("retry", "{complete}", "--reason", "why"), 1, "The saga is completed"),
        (("compensate", "{stuck}"), 1, "reason"),
        (("compensate", "{complete}", "--reason", "why"), 1, "The saga is completed"),
        (("resolve", "{stuck}", "--note", ""), 1, "reason"),
        (("resolve", "{complete}", "--note", "why"), 1, "The saga is completed"),
        (("skip", "{stuck}", "nothing", "--reason", "why"), 1, "step"),
        (("skip", "{stuck}", "base"), 1, "reason"),
        (("skip", "{stuck}", "base", "--reason", "why", "--value", "{"), 2, "--value must be a JSON object"),
        (("skip", "{stuck}", "base", "--reason", "why", "--value", "[1]"), 2, "--value must be a JSON object"),
        (("skip", "{stuck}", "base", "--reason", "why", "--value", '{"letters":1}'), 1, "can't hold these values"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_use_of_sagas_is_a_sentence_and_changes_nothing(
    travelled: Travel, arguments: tuple[str, ...], code: int, word: str
) -> None:
    names = {"{stuck}": travelled.stuck, "{complete}": travelled.complete}

    refused = travelled.craton("sagas", *(names.get(argument, argument) for argument in arguments))

    refused.require_one_sentence(code, word)
    assert travelled.status() == "stuck"
    assert travelled.craton("audit", "--json").records == []


@pytest.mark.parametrize(
    "arguments",
    [("list", "--status", "asleep"), ("show",), ("resolve", NOBODY), ("skip", NOBODY), ("dance",)],
    ids=" ".join,
)
def test_a_missing_argument_or_one_that_there_is_not_is_wrong_use(
    travelled: Travel, arguments: tuple[str, ...]
) -> None:
    refused = travelled.craton("sagas", *arguments)

    assert refused.code == 2
    assert "Traceback" not in refused.err


def test_an_application_without_sagas_has_none(filled: Data) -> None:
    assert craton("sagas", "list", "--json", *filled.option).out == ""
    craton("sagas", "show", NOBODY, *filled.option).require_one_sentence(1, "There is no saga")


def test_drain_says_how_many_the_new_program_can_not_continue_when_its_time_is_over(travelled: Travel) -> None:
    waited = travelled.craton("drain", "--minutes", "0", "--app", NEWER)

    assert waited.lines == ["Sagas that have not ended and that this program can't continue: 1."]
    assert waited.code == 1


def test_drain_ends_when_they_have_ended(travel: Travel) -> None:
    travel.craton("sagas", "resolve", travel.stuck, "--note", "it was done by hand")
    travel.catch_up()

    waited = travel.craton("drain", "--app", NEWER)

    assert waited.lines == ["This program can continue all sagas that are under way."]
    assert waited.code == 0


def test_drain_does_not_wait_for_what_the_program_can_continue(travelled: Travel) -> None:
    waited = travelled.craton("drain")

    assert waited.lines == ["This program can continue all sagas that are under way."]
    assert waited.code == 0
