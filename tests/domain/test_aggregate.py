"""An aggregate changes by recording events, and by nothing else."""

from enum import Enum
from typing import Any, ClassVar

import pytest

from craton.domain import Aggregate, Event, Id


class JarId(Id):
    pass


class JarMade(Event):
    label: str


class SweetAdded(Event):
    count: int


class Jar(Aggregate[JarId]):
    label: str
    sweets: int = 0

    def apply(self, event: JarMade | SweetAdded) -> None:
        match event:
            case JarMade(label=label):
                self.label = label
            case SweetAdded(count=count):
                self.sweets += count


def jar() -> Jar:
    return Jar.begin(JarId.new(), JarMade(label="mint"))


def test_a_new_aggregate_begins_with_its_first_fact() -> None:
    made = jar()

    assert (made.label, made.sweets, made.version) == ("mint", 0, 1)


def test_what_is_recorded_is_applied_at_once() -> None:
    made = jar()

    made.record(SweetAdded(count=3))

    assert made.sweets == 3


def test_each_recorded_event_is_one_version() -> None:
    made = jar()

    made.record(SweetAdded(count=1))
    made.record(SweetAdded(count=2))

    assert made.version == 3


def test_the_recorded_events_are_kept_in_order() -> None:
    made = jar()

    made.record(SweetAdded(count=1))

    assert made.recorded == (JarMade(label="mint"), SweetAdded(count=1))


def test_an_event_that_cannot_be_applied_is_not_recorded() -> None:
    class Fragile(Jar):
        def apply(self, event: Any) -> None:
            if isinstance(event, SweetAdded):
                raise OverflowError
            super().apply(event)

    made = Fragile.begin(JarId.new(), JarMade(label="mint"))

    with pytest.raises(OverflowError):
        made.record(SweetAdded(count=1))
    assert (made.version, made.recorded) == (1, (JarMade(label="mint"),))


def test_the_stream_is_named_by_kind_and_id() -> None:
    made = jar()

    assert made.stream == f"jar-{made.id}"


def test_the_streams_name_may_be_chosen() -> None:
    class Renamed(Jar):
        stream_prefix = "pot"

    assert Renamed(JarId.new()).stream.startswith("pot-")


def test_an_event_never_changes() -> None:
    event: Any = SweetAdded(count=1)

    with pytest.raises(AttributeError):
        event.count = 2


def test_events_are_equal_when_they_say_the_same() -> None:
    assert SweetAdded(count=1) == SweetAdded(count=1)
    assert SweetAdded(count=1) != SweetAdded(count=2)


def test_an_aggregate_without_apply_says_so() -> None:
    class Empty(Aggregate[Id]):
        pass

    with pytest.raises(TypeError, match="Empty must define apply"):
        Empty.begin(JarId.new(), SweetAdded(count=1))


@pytest.mark.parametrize("name", ["version", "stream", "recorded", "snapshot_every", "not_found", "stream_prefix"])
def test_a_field_may_not_take_a_name_that_has_a_meaning(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        type("Wrong", (Aggregate,), {"__annotations__": {name: int}})


def test_snapshots_are_taken_at_least_every_so_many_events() -> None:
    with pytest.raises(TypeError, match="snapshot_every"):
        type("Wrong", (Aggregate,), {"snapshot_every": 0})


class SweetsPoured(Event):
    sweets: list[str]


class Bowl(Aggregate[JarId]):
    """Keeps what its events hold, and changes it later on."""

    poured: tuple[list[str], ...] = ()

    def apply(self, event: SweetsPoured) -> None:
        for earlier in self.poured:
            earlier.append("poured over")
        self.poured = (*self.poured, event.sweets)


def test_a_state_shares_nothing_with_the_event_that_was_recorded() -> None:
    bowl, sweets = Bowl(JarId.new()), ["mint"]
    bowl.record(SweetsPoured(sweets=sweets))

    sweets.append("stolen")

    assert bowl.poured == (["mint"],)


def test_a_recorded_event_stays_unchanged_when_the_state_or_the_caller_changes_its_parts() -> None:
    bowl, sweets = Bowl(JarId.new()), list[str]()
    for sweet in ("mint", "honey"):
        sweets.append(sweet)
        bowl.record(SweetsPoured(sweets=sweets))

    assert bowl.recorded == (SweetsPoured(sweets=["mint"]), SweetsPoured(sweets=["mint", "honey"]))
    assert sweets == ["mint", "honey"]


class Box:
    """Something that can be changed, though it has a hash."""

    def __init__(self) -> None:
        self.sweets = 0


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize("shared", [[], {}, set(), bytearray(), ([],), Box()])
@pytest.mark.parametrize("annotations", [{}, {"sweets": Any}])
def test_a_default_that_all_aggregates_would_share_is_refused(shared: Any, annotations: dict[str, Any]) -> None:
    mixin = type("Sweets", (), {"sweets": shared, "__annotations__": annotations})

    with pytest.raises(TypeError, match=r"Wrong.sweets has a default that can be changed"):
        type("Wrong", (Aggregate,), {"sweets": shared, "__annotations__": annotations})
    with pytest.raises(TypeError, match=r"Wrong.sweets has a default that can be changed"):
        type("Wrong", (mixin, Aggregate), {})


def test_values_that_can_not_change_in_place_may_be_class_attributes() -> None:
    class Sweets:
        sweets: Any = []  # noqa: RUF012

    class Right(Sweets, Aggregate[Id]):
        kinds: ClassVar[dict[str, int]] = {"mint": 1}
        others: "ClassVar[list[str]]" = []  # noqa: RUF012
        sweets = ()
        colour = Colour.RED

        class Label(Event):
            pass

        @property
        def size(self) -> int:
            return len(self.sweets)

    assert Right(JarId.new()).size == 0


def test_an_attribute_of_the_class_is_no_field_that_an_instance_may_set() -> None:
    class Counting(Aggregate[Id]):
        count: ClassVar[int] = 0

        def apply(self, event: SweetAdded) -> None:
            self.count += event.count  # type: ignore[misc]

    with pytest.raises(TypeError, match=r"Counting.count isn't a field, so that a snapshot would lose it"):
        Counting(JarId.new()).record(SweetAdded(count=1))


@pytest.mark.parametrize("slots", ["sweets", ("sweets",), ["sweets"]])
def test_slots_which_no_snapshot_would_hold_are_refused(slots: Any) -> None:
    with pytest.raises(TypeError, match="Wrong has __slots__, whose members no snapshot would hold"):
        type("Wrong", (Aggregate,), {"__slots__": slots})
    with pytest.raises(TypeError, match="Wrong has __slots__"):
        type("Wrong", (type("Sweets", (), {"__slots__": slots}), Aggregate), {})


def test_a_mixins_field_may_not_take_a_name_that_has_a_meaning_either() -> None:
    with pytest.raises(TypeError, match="version"):
        type("Wrong", (type("Sweets", (), {"__annotations__": {"version": int}}), Aggregate), {})


def test_the_parameter_of_apply_is_called_event() -> None:
    with pytest.raises(TypeError, match=r"the parameter of Wrong.apply must be called event"):

        class Wrong(Aggregate[Id]):
            def apply(self, fact: JarMade | SweetAdded) -> None:
                pass
