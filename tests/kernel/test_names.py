"""Names are promises: a program that doesn't know what is stored isn't started on it."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Union

import msgspec
import pytest

from craton.application import (
    Api,
    Key,
    Module,
    Policy,
    Projection,
    Repository,
    Row,
    Rows,
    Saga,
    Sagas,
    Upcaster,
    View,
    WiringError,
    command,
    query,
    schedule,
    step,
    wait_for,
)
from craton.application.codec import decode
from craton.application.sagas.events import SagaCompleted
from craton.domain import Aggregate, Event, Id, Recorded, Secret, Value
from craton.ports import Changeset, Statement, Store
from craton.runtime import App
from craton.runtime.compatibility.names import DOCUMENT, Names, keep_names
from craton.testing import until
from tests.conftest import Place

LATER = datetime(2090, 1, 1, tzinfo=UTC)


class BoxId(Id):
    pass


BOX = BoxId.new()


class Emptied(Event):
    pass


class Shelf(Api):
    @command
    async def put(self, box: BoxId) -> None:
        """Record the fact that the module was made for."""

    @command
    async def put_later(self, box: BoxId) -> None:
        """Have it recorded much later."""

    @command
    async def send(self, box: BoxId) -> None:
        """Start a saga about the box."""

    @query
    async def facts(self, box: BoxId) -> tuple[str, ...]:
        """What was applied to a box, as text."""


def shelf(
    *facts: Event,
    kinds: Sequence[type[Event]] = (),
    prefix: str = "box",
    saga: type[Saga] | None = None,
    **options: Any,
) -> Module:
    """A module with boxes, to which the kinds of these facts happen, and other kinds; `put` records the facts."""

    class Box(Aggregate[BoxId]):
        stream_prefix = prefix
        facts: tuple[str, ...] = ()

        def apply(self, event: Any) -> None:
            self.facts = (*self.facts, str(event))

    Box.apply.__annotations__["event"] = Union[(Emptied, *map(type, facts), *kinds)]

    class ShelfService(Shelf):
        def __init__(self, boxes: Repository[Box], sagas: Any) -> None:
            self._boxes = boxes
            self._sagas = sagas

        async def put(self, box: BoxId) -> None:
            found = await self._boxes.find_or_add(box)
            for fact in facts:
                found.record(fact)

        async def put_later(self, box: BoxId) -> None:
            schedule(LATER, Shelf.put, box=box)

        async def send(self, box: BoxId) -> None:
            assert saga is not None
            self._sagas.start(saga(), id=box)

        async def facts(self, box: BoxId) -> tuple[str, ...]:
            return (await self._boxes.get(box)).facts

    ShelfService.__init__.__annotations__["sagas"] = Repository[Box] if saga is None else Sagas[saga]  # type: ignore[valid-type]
    sagas = [] if saga is None else [saga]
    return Module("shelf", **{"api": Shelf, "service": ShelfService, "sagas": sagas, **options})


class Process:
    """Programs that are run one after another on the same store."""

    def __init__(self, place: Place) -> None:
        self.place = place

    async def put(self, module: Module) -> None:
        """Run a program that records its facts."""
        async with App("store", modules=[module]).run(self.place, subscriptions=False) as app:
            await app.api(Shelf).put(BOX)

    async def facts(self, module: Module) -> tuple[str, ...]:
        """Run a program that reads what was recorded."""
        async with App("store", modules=[module]).run(self.place, subscriptions=False) as app:
            assert [problem async for problem in app.running["shelf"].verify()] == []
            return await app.api(Shelf).facts(BOX)

    async def starts(self, *modules: Module) -> None:
        async with App("store", modules=modules).run(self.place, subscriptions=False):
            pass

    async def refusal(self, *modules: Module) -> str:
        """Run a program that isn't started, and return why; it is refused as often as it is tried."""
        told = set()
        for _ in range(2):
            with pytest.raises(WiringError) as refused:
                async with App("store", modules=modules).run(self.place, subscriptions=True):
                    raise AssertionError("it must not start")
            told.add(str(refused.value))
        (sentence,) = told
        return sentence


@pytest.fixture
def process(place: Place) -> Process:
    return Process(place)


def made(name: str, base: type, fields: dict[str, Any]) -> Any:
    """A class with these fields, by type or by type and default."""
    types = {name: hint[0] if isinstance(hint, tuple) else hint for name, hint in fields.items()}
    defaults = {name: hint[1] for name, hint in fields.items() if isinstance(hint, tuple)}
    return type(base)(name, (base,), {"__annotations__": types, **defaults})


def filled(**fields: Any) -> type[Event]:
    """A version of the class of an event, with these fields."""
    found: type[Event] = made("Filled", Event, fields)
    return found


FILLED = filled(weight=int)


class TestEvents:
    async def test_one_that_is_gone_is_refused_once_it_was_recorded(self, process: Process) -> None:
        await process.put(shelf(FILLED(weight=1)))

        assert await process.refusal(shelf()) == (
            "app store: "
            "module shelf: its log holds events called Filled, which none of its aggregates applies. If the event was "
            "renamed, say aliases = ('Filled',) in its class; if a newer program wrote them, start that one; if "
            "nothing needs them any more, say Module(retired=['Filled'])."
        )

    async def test_one_that_is_retired_is_shown_without_its_data(self, process: Process) -> None:
        await process.put(shelf(filled(code=Secret)(code=Secret("open sesame"))))

        async with App("store", modules=[shelf(retired=["Filled"])]).run(process.place, subscriptions=False) as app:
            boxes = app.running["shelf"].module.service_dependencies["boxes"]
            (event,) = (await app.running["shelf"].provide({"boxes": boxes})["boxes"].audit(BOX)).items

        assert (event.type, event.data) == ("Filled", {})

    async def test_one_that_was_never_recorded_may_go(self, process: Process) -> None:
        await process.put(shelf(Emptied(), kinds=[FILLED]))

        await process.starts(shelf())

    async def test_one_that_an_older_process_records_after_it_was_removed_is_refused_at_the_next_start(
        self, process: Process
    ) -> None:
        async with App("store", modules=[shelf(FILLED(weight=1))]).run(process.place) as before:
            await process.starts(shelf())
            await before.api(Shelf).put(BOX)

        assert "events called Filled" in await process.refusal(shelf())

    async def test_one_that_is_renamed_is_read_by_its_alias(self, process: Process) -> None:
        class Packed(Event):
            aliases = ("Filled",)
            weight: int

        await process.put(shelf(FILLED(weight=1)))
        await process.put(shelf(Packed(weight=2)))

        assert await process.facts(shelf(kinds=[Packed])) == ("Packed(weight=1)", "Packed(weight=2)")

    async def test_its_upcasters_hold_for_what_was_stored_under_an_alias(self, process: Process) -> None:
        class Packed(Event):
            aliases = ("Filled",)
            schema_version = 2
            grams: int

        await process.put(shelf(FILLED(weight=3)))
        upcasters = [Upcaster("Packed", 1, lambda old: {"grams": old["weight"] * 1_000})]

        assert await process.facts(shelf(kinds=[Packed], upcasters=upcasters)) == ("Packed(grams=3000)",)

    async def test_an_alias_of_another_kind_that_there_is_is_refused(self) -> None:
        class Packed(Event):
            aliases = ("Filled",)

        with pytest.raises(WiringError, match="two kinds of events are called Filled"):
            shelf(kinds=[Packed, FILLED])

    async def test_an_alias_is_not_inherited(self) -> None:
        class Packed(Event):
            aliases = ("Filled",)

        class PackedAgain(Packed):
            pass

        shelf(kinds=[Packed, PackedAgain])

    async def test_one_that_is_retired_is_passed_over(self, process: Process) -> None:
        await process.put(shelf(FILLED(weight=1), Emptied()))

        assert await process.facts(shelf(retired=["Filled"])) == ("Emptied()",)

    async def test_one_that_is_retired_stays_in_the_history(self, process: Process) -> None:
        await process.put(shelf(FILLED(weight=1), Emptied()))

        async with App("store", modules=[shelf(retired=["Filled"])]).run(process.place) as app:
            stored = await app.running["shelf"].store.read_stream(f"box-{BOX}", limit=9)
        assert [event.type for event in stored] == ["Filled", "Emptied"]

    async def test_an_older_program_is_not_started_on_what_a_newer_one_has_recorded(self, process: Process) -> None:
        newer, older = shelf(FILLED(weight=1)), shelf(Emptied())
        await process.put(older)
        await process.starts(newer)
        await process.starts(older)

        await process.put(newer)

        assert "if a newer program wrote them, start that one" in await process.refusal(older)

    async def test_a_later_schema_version_is_refused(self, process: Process) -> None:
        class Filled(Event):
            schema_version = 2
            grams: int

        upcasters = [Upcaster("Filled", 1, lambda old: {"grams": old["weight"] * 1_000})]
        await process.put(shelf(FILLED(weight=1)))
        await process.put(shelf(Filled(grams=5), upcasters=upcasters))

        assert "its log holds Filled at schema version 2, and Filled is at 1" in await process.refusal(
            shelf(kinds=[FILLED])
        )

    async def test_all_that_does_not_fit_is_said_at_once(self, process: Process) -> None:
        await process.put(shelf(FILLED(weight=1), Emptied()))

        told = await process.refusal(shelf(kinds=[filled(weight=str)], prefix="crate"))

        assert "Filled can't read" in told
        assert "streams called box-…" in told
        assert len(told.splitlines()) == 2


class TestAliases:
    """Whatever is chosen by the names of events is chosen by their old names, too."""

    @pytest.mark.parametrize("inline", [False, True])
    async def test_a_read_model_is_built_again_from_them(self, process: Process, *, inline: bool) -> None:
        class Packed(Event):
            aliases = ("Filled",)
            weight: int

        class BoxRow(Row):
            box: Key[BoxId]
            weight: int

        class Boxes(Projection):
            version = 2
            boxes: Rows[BoxRow]

            def project(self, event: Recorded[Packed]) -> None:
                self.boxes.put(BoxRow(box=BoxId(event.subject), weight=event.data.weight))

        Boxes.inline = Boxes.cached = inline
        await process.put(shelf(FILLED(weight=7)))

        module = shelf(kinds=[Packed], projections=[Boxes])
        async with App("store", modules=[module]).run(process.place, subscriptions=True) as app:
            running = app.running["shelf"]
            view: View[BoxRow] = running.provide({"view": View[BoxRow]})["view"]

            async def is_built() -> bool:
                return running.projections["boxes"].record.state.live is not None and await view.find(BOX) is not None

            await until(is_built)
            assert await view.find(BOX) == BoxRow(box=BOX, weight=7)
            assert [problem async for problem in running.verify()] == []

    async def test_a_policy_reacts_to_them(self, process: Process) -> None:
        class Packed(Event):
            aliases = ("Filled",)
            weight: int

        seen: list[int] = []

        class Weigher(Policy):
            async def react(self, event: Recorded[Packed]) -> None:
                seen.append(event.data.weight)

        await process.put(shelf(FILLED(weight=7)))

        async with App("store", modules=[shelf(kinds=[Packed], policies=[Weigher])]).run(
            process.place, subscriptions=True
        ):

            async def has_seen() -> bool:
                return bool(seen)

            await until(has_seen)
        assert seen == [7]


class Sealed(Value):
    wax: str


class SealedTwice(Value):
    wax: str
    again: str = ""


Small = Annotated[int, msgspec.Meta(le=10)]


class TestShapes:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (filled(weight=int), filled(weight=int, note=(str, ""))),
            (filled(weight=int, note=str), filled(weight=int)),
            (filled(weight=int), filled(weight=float)),
            (filled(weight=int), filled(weight=int | None)),
            (filled(weight=int), filled(weight=(int, 0))),
            (filled(seal=Sealed), filled(seal=SealedTwice)),
            (filled(kind=Literal["a"]), filled(kind=Literal["a", "b"])),
            (filled(kind=Literal["a"]), filled(kind=str)),
            (filled(box=BoxId), filled(box=str)),
            (filled(weight=Small), filled(weight=int)),
            (filled(parts=tuple[int, ...]), filled(parts=list[int])),
        ],
    )
    async def test_a_change_that_reads_what_was_stored_is_accepted(
        self, process: Process, before: type[Event], after: type[Event]
    ) -> None:
        await process.put(shelf(_example(before)))

        assert len(await process.facts(shelf(kinds=[after]))) == 1

    @pytest.mark.parametrize(
        ("before", "after", "why"),
        [
            (filled(weight=int), filled(weight=int, note=str), "note is new and has no default"),
            (filled(weight=int), filled(weight=str), "weight was integer and is text"),
            (filled(weight=int | None), filled(weight=int), "weight could be null"),
            (filled(weight=(int, 0)), filled(weight=int), "weight could be left out"),
            (filled(weight=(int, 0)), filled(grams=(int, 0)), "grams is new and weight is gone"),
            (filled(kind=Literal["a", "b"]), filled(kind=Literal["b"]), "kind could be 'a'"),
            (filled(box=str), filled(box=BoxId), "box must have the format uuid"),
            (filled(weight=int), filled(weight=Small), "weight must have the maximum 10"),
            (filled(seal=SealedTwice), filled(seal=Sealed), "seal.again is gone, and seal admits no unknown fields"),
            (filled(seals=list[SealedTwice]), filled(seals=list[Sealed]), r"seals\[…\].again is gone"),
            (filled(seals=dict[str, Sealed]), filled(seals=dict[int, Sealed]), "the keys of seals was text"),
            (filled(at=str), filled(at=datetime), "at must have the format date-time"),
        ],
    )
    async def test_a_change_that_does_not_is_refused_with_its_place(
        self, process: Process, before: type[Event], after: type[Event], why: str
    ) -> None:
        await process.put(shelf(_example(before)))

        told = await process.refusal(shelf(kinds=[after]))

        assert why.replace("\\", "") in told
        assert "Give a new field a default, or raise schema_version to 2 and add Upcaster('Filled', 1, …)." in told

    async def test_a_new_schema_version_with_an_upcaster_is_accepted(self, process: Process) -> None:
        class Filled(Event):
            schema_version = 2
            grams: int

        await process.put(shelf(FILLED(weight=3)))

        upcasters = [Upcaster("Filled", 1, lambda old: {"grams": old["weight"] * 1_000})]

        assert await process.facts(shelf(kinds=[Filled], upcasters=upcasters)) == ("Filled(grams=3000)",)

    async def test_a_shape_of_which_nothing_was_recorded_may_change_freely(self, process: Process) -> None:
        await process.put(shelf(Emptied(), kinds=[FILLED]))
        after = filled(grams=int)

        await process.put(shelf(after(grams=5)))

        assert await process.facts(shelf(kinds=[after])) == ("Emptied()", "Filled(grams=5)")

    async def test_a_change_is_held_against_every_shape_there_was(self, process: Process) -> None:
        noted = filled(weight=int, note=(str, ""))
        await process.put(shelf(noted(weight=1, note="fragile")))
        await process.put(shelf(FILLED(weight=1)))

        assert "note was text and is integer" in await process.refusal(shelf(kinds=[filled(weight=int, note=(int, 0))]))

    async def test_an_older_program_may_continue_if_it_can_read_the_events(self, process: Process) -> None:
        newer = filled(weight=int, note=(str, ""))
        await process.put(shelf(FILLED(weight=1)))
        await process.put(shelf(newer(weight=2, note="fragile")))

        assert await process.facts(shelf(kinds=[FILLED])) == ("Filled(weight=1)", "Filled(weight=2)")

    async def test_an_older_program_may_continue_until_an_event_is_recorded_that_it_can_not_read(
        self, process: Process
    ) -> None:
        before, after = filled(seal=Sealed), filled(seal=SealedTwice)
        await process.put(shelf(before(seal=Sealed(wax="red"))))
        await process.starts(shelf(kinds=[after]))

        await process.starts(shelf(kinds=[before]))
        await process.put(shelf(after(seal=SealedTwice(wax="red"))))

        assert "seal.again is gone" in await process.refusal(shelf(kinds=[before]))


def _example(kind: type[Event]) -> Event:
    """An event of a kind, with a fitting value in each field."""
    values = {
        int: 1, int | None: None, Small: 1, str: BOX, Sealed: Sealed(wax="red"), SealedTwice: SealedTwice(wax="red"),
        BoxId: BOX, Literal["a"]: "a", Literal["a", "b"]: "a", tuple[int, ...]: (1, 2),
        list[SealedTwice]: [SealedTwice(wax="red")], dict[str, Sealed]: {"a": Sealed(wax="red")},
    }  # fmt: skip
    made: Any = kind
    return made(**{field.name: values[field.type] for field in msgspec.structs.fields(kind)})  # type: ignore[no-any-return]


class TestStreams:
    async def test_an_aggregate_by_another_name_is_refused(self, process: Process) -> None:
        await process.put(shelf(Emptied()))

        assert await process.refusal(shelf(prefix="crate")) == (
            "app store: "
            "module shelf: its log holds streams called box-…, and none of its aggregates has that prefix. If the "
            "aggregate was renamed, say stream_prefix = 'box' in its class; if nothing needs these streams any more, "
            "say Module(retired=['box'])."
        )

    async def test_it_may_have_one_while_nothing_was_recorded(self, process: Process) -> None:
        await process.starts(shelf())

        await process.starts(shelf(prefix="crate"))

    async def test_they_may_be_retired(self, process: Process) -> None:
        await process.put(shelf(Emptied()))

        await process.put(shelf(Emptied(), prefix="crate", retired=["box"]))

        assert await process.facts(shelf(prefix="crate", retired=["box"])) == ("Emptied()",)


class TestStoresOfBefore:
    """A store in which no names were noted, because an older toolkit has written it."""

    @pytest.fixture
    async def forgetful(self, process: Process, store: Store, place: Place) -> Process:
        """After some facts the names that were noted are forgotten."""
        await process.put(shelf(FILLED(weight=1)))
        opened = place("shelf")
        await opened.open()
        found = await opened.document(DOCUMENT)
        assert found is not None
        await _forget(opened)
        await opened.close()
        return process

    async def test_what_is_stored_is_found_in_the_log(self, forgetful: Process) -> None:
        told = await forgetful.refusal(shelf(prefix="crate"))

        assert "events called Filled" in told
        assert "streams called box-…" in told

    async def test_shapes_are_judged_from_the_first_start_on(self, forgetful: Process) -> None:
        await forgetful.starts(shelf(kinds=[FILLED]))

        assert "weight was integer and is text" in await forgetful.refusal(shelf(kinds=[filled(weight=str)]))

    async def test_what_is_retired_from_the_first_start_on_is_still_stored_when_it_is_not_any_more(
        self, forgetful: Process
    ) -> None:
        await forgetful.starts(shelf(retired=["Filled"]))

        assert "events called Filled" in await forgetful.refusal(shelf())


async def _forget(store: Store) -> None:
    (outcome,) = await store.write([Changeset(statements=[Statement("DELETE FROM documents", {})])])
    assert not isinstance(outcome, Exception)


class TestReadModels:
    def boxes(self, name: str, row: str, **options: Any) -> Module:
        """A module with a projection and a row of these names."""
        kind = made(row, Row, {"box": Key[BoxId]})
        space: dict[str, Any] = {
            "__annotations__": {"boxes": Rows[kind]},  # type: ignore[valid-type]
            "project": _project,
        }
        return shelf(Emptied(), projections=[type(name, (Projection,), space)], **options)

    async def test_a_projection_by_another_name_is_refused(self, process: Process) -> None:
        await process.put(self.boxes("Boxes", "BoxRow"))

        assert await process.refusal(self.boxes("Crates", "BoxRow")) == (
            "app store: "
            "module shelf: the projection 'crates' is new and 'boxes' is gone. If that is the same one renamed, keep "
            "its name in the class (name = 'boxes'), or it is built anew and the old tables stay behind. If it isn't, "
            "say Module(retired=['boxes'])."
        )

    async def test_rows_by_another_name_are_refused(self, process: Process) -> None:
        await process.put(self.boxes("Boxes", "BoxRow"))

        assert "the table of rows 'crate' is new and 'box' is gone" in await process.refusal(
            self.boxes("Boxes", "CrateRow")
        )

    async def test_both_may_be_retired(self, process: Process) -> None:
        await process.put(self.boxes("Boxes", "BoxRow"))

        await process.starts(self.boxes("Crates", "CrateRow", retired=["boxes", "box"]))

    async def test_an_older_program_may_be_started_after_one_that_has_added_one(self, process: Process) -> None:
        await process.put(shelf(Emptied()))
        await process.put(self.boxes("Boxes", "BoxRow"))

        await process.starts(shelf())

    async def test_their_names_are_free_while_nothing_was_recorded(self, process: Process) -> None:
        await process.starts(self.boxes("Boxes", "BoxRow"))

        await process.starts(self.boxes("Crates", "CrateRow"))


def _project(self: Any, event: Recorded[Emptied]) -> None:
    """Say nothing."""


class Journey(Saga):
    """It waits for what never comes."""

    @wait_for(lambda event: None)
    async def arrive(self, event: Recorded[Emptied]) -> None: ...


class Voyage(Saga):
    @wait_for(lambda event: None)
    async def arrive(self, event: Recorded[Emptied]) -> None: ...


class Outing(Saga):
    """It ends at once."""

    @step
    async def go(self) -> None: ...


def _renamed_step() -> type[Saga]:
    class Journey(Saga):
        @wait_for(lambda event: None)
        async def land(self, event: Recorded[Emptied]) -> None: ...

    return Journey


class TestSagas:
    async def send(self, process: Process, saga: type[Saga]) -> None:
        async with App("store", modules=[shelf(saga=saga)]).run(process.place, subscriptions=True) as app:
            await app.api(Shelf).send(BOX)

    async def test_one_by_another_name_is_refused_while_some_have_not_ended(self, process: Process) -> None:
        await self.send(process, Journey)

        assert await process.refusal(shelf(saga=Voyage)) == (
            "app store: "
            "module shelf: 1 of its sagas haven't ended and need Journey, which the program no longer has. Keep it, "
            "beside a new one if need be, until they have ended; or have them wait for a program that has it with "
            "Module(retired=['Journey'])."
        )

    async def test_the_last_one_can_not_go_either(self, process: Process) -> None:
        await self.send(process, Journey)

        assert "need Journey" in await process.refusal(shelf())

    async def test_a_step_by_another_name_is_refused_while_some_have_not_ended(self, process: Process) -> None:
        await self.send(process, Journey)

        assert "need Journey.arrive" in await process.refusal(shelf(saga=_renamed_step()))

    @pytest.mark.parametrize("retired", ["Journey", "Journey.arrive"])
    async def test_either_may_be_retired(self, process: Process, retired: str) -> None:
        await self.send(process, Journey)

        async with App("store", modules=[shelf(saga=_renamed_step(), retired=[retired])]).run(
            process.place, subscriptions=True
        ):
            pass

    async def test_it_may_go_when_all_have_ended(self, process: Process) -> None:
        async with App("store", modules=[shelf(saga=Outing)]).run(process.place, subscriptions=True) as app:
            await app.api(Shelf).send(BOX)

            async def has_ended() -> bool:
                return any([e.type == SagaCompleted.__name__ async for e in app.running["shelf"].source.stored()])

            await until(has_ended)

        async with App("store", modules=[shelf(saga=Voyage)]).run(process.place, subscriptions=True):
            pass

    async def test_operators_look_after_them_with_a_program_that_does_not_run_them(self, process: Process) -> None:
        await self.send(process, Journey)

        await process.starts(shelf(saga=Voyage))


class Rack(Api):
    @command
    async def place(self, box: BoxId) -> None:
        """What `put` is called now."""


class RackService(Rack):
    async def place(self, box: BoxId) -> None: ...


class TestTimers:
    @pytest.fixture
    async def waiting(self, process: Process) -> Process:
        """A timer waits to call `put`."""
        async with App("store", modules=[shelf(Emptied())]).run(process.place) as app:
            await app.api(Shelf).put_later(BOX)
        return process

    async def test_one_whose_command_is_gone_is_refused(self, waiting: Process) -> None:
        assert await waiting.refusal(Module("shelf", api=Rack, service=RackService)) == (
            "app store: "
            "module shelf: timers wait to call put, and Rack has no such command any more. Keep the command until they "
            "have run; or have them parked with Module(retired=['put'])."
        )

    async def test_its_command_may_be_retired(self, waiting: Process) -> None:
        module = Module("shelf", api=Rack, service=RackService, retired=["put"])

        async with App("store", modules=[module]).run(waiting.place, subscriptions=True):
            pass


async def test_two_processes_that_are_started_at_once_forget_no_name(place: Place) -> None:
    stores = [place("shelf") for _ in range(2)]
    for store in stores:
        await store.open()
    try:
        modules = [shelf(kinds=[FILLED]), shelf(prefix="crate")]
        starts = zip(modules, stores, strict=True)
        await asyncio.gather(*(keep_names("store", [start], working=True) for start in starts))

        document = await stores[0].document(DOCUMENT)
        assert document is not None
        noted = decode(Names, document.body)
        assert noted.streams.keys() == {"box", "crate"}
        assert noted.events.keys() == {"Filled", "Emptied"}
    finally:
        for store in stores:
            await store.close()


async def test_a_start_that_has_nothing_new_to_note_writes_nothing(process: Process, place: Place) -> None:
    await process.put(shelf(FILLED(weight=1)))
    store = place("shelf")
    await store.open()
    noted = await store.document(DOCUMENT)

    await process.starts(shelf(kinds=[FILLED]))

    assert await store.document(DOCUMENT) == noted
    await store.close()
