"""An aggregate changes by recording events, and by nothing else."""

from typing import Any

import pytest

from craton.domain import Aggregate, Event, Id


class JarId(Id):
    pass


class JarMade(Event):
    label: str


class SweetAdded(Event):
    count: int


class Jar(Aggregate):
    id: JarId
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
    class Empty(Aggregate):
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
