"""Given, when, then; and each check can fail."""

import pytest

from craton.domain import Aggregate, Event
from craton.testing import given
from tests.testing.workshop import AlreadyRepaired, BlankOwner, Brought, Reminded, Repair, Repaired, RepairId

ID = RepairId.new()
OPEN = Brought(owner="Ann")


class TestThen:
    def test_is_told_the_events_that_were_recorded(self) -> None:
        repair = given(Repair, ID, OPEN).when(lambda repair: repair.finish()).then(Repaired())

        assert (repair.id, repair.owner, repair.done, repair.version) == (ID, "Ann", True, 2)

    def test_may_be_told_that_nothing_was(self) -> None:
        given(Repair, ID, OPEN, Repaired()).when(lambda repair: repair.remind()).then()

    def test_sees_several_events_in_their_order(self) -> None:
        def act(repair: Repair) -> None:
            repair.remind()
            repair.finish()

        outcome = given(Repair, ID, OPEN).when(act)

        outcome.then(Reminded(), Repaired())
        with pytest.raises(AssertionError, match=r"recorded were \(Reminded.*expected \(Repaired"):
            outcome.then(Repaired(), Reminded())

    def test_sees_what_an_aggregate_that_was_made_has_recorded(self) -> None:
        repair = given(Repair, ID).when(lambda _: Repair.bring(ID, "Ann")).then(OPEN)

        assert (repair.owner, repair.version) == ("Ann", 1)

    @pytest.mark.parametrize("events", [(), (Reminded(),), (Repaired(), Repaired())])
    def test_refuses_other_events(self, events: tuple[Event, ...]) -> None:
        with pytest.raises(AssertionError, match=r"recorded were \(Repaired\(\),\), and expected"):
            given(Repair, ID, OPEN).when(lambda repair: repair.finish()).then(*events)

    def test_refuses_a_refusal(self) -> None:
        with pytest.raises(AssertionError, match="it was refused: AlreadyRepaired: It is repaired already"):
            given(Repair, ID, OPEN, Repaired()).when(lambda repair: repair.finish()).then()


class TestRefused:
    def test_is_told_the_refusal_and_its_details(self) -> None:
        refusal = (
            given(Repair, ID, OPEN, Reminded(), Repaired())
            .when(lambda repair: repair.finish())
            .refused(AlreadyRepaired, owner="Ann", reminders=1)
        )

        assert refusal == AlreadyRepaired(owner="Ann", reminders=1)

    def test_may_be_told_only_some_details(self) -> None:
        given(Repair, ID, OPEN, Repaired()).when(lambda repair: repair.finish()).refused(AlreadyRepaired, owner="Ann")

    def test_sees_the_refusal_of_an_aggregate_that_was_not_made(self) -> None:
        given(Repair, ID).when(lambda _: Repair.bring(ID, "")).refused(BlankOwner)

    def test_refuses_other_details(self) -> None:
        outcome = given(Repair, ID, OPEN, Repaired()).when(lambda repair: repair.finish())

        with pytest.raises(AssertionError, match="owner is 'Ann', and expected 'Bob'"):
            outcome.refused(AlreadyRepaired, owner="Bob")
        with pytest.raises(AssertionError, match="AlreadyRepaired has no detail reason"):
            outcome.refused(AlreadyRepaired, reason=None)

    def test_refuses_another_refusal(self) -> None:
        with pytest.raises(AssertionError, match="it was refused as AlreadyRepaired: It is repaired already"):
            given(Repair, ID, OPEN, Repaired()).when(lambda repair: repair.finish()).refused(BlankOwner)

    def test_refuses_events(self) -> None:
        with pytest.raises(AssertionError, match=r"it was not refused, and recorded \(Repaired\(\),\)"):
            given(Repair, ID, OPEN).when(lambda repair: repair.finish()).refused(AlreadyRepaired)


class TestGiven:
    def test_has_the_version_and_the_time_of_its_first_event(self) -> None:
        repair = given(Repair, ID, OPEN, Reminded()).when(lambda _: None).then()

        assert (repair.version, repair.reminders) == (2, 1)
        assert repair.began_at.tzinfo is not None

    def test_without_events_has_not_begun(self) -> None:
        assert given(Repair, ID).when(lambda _: None).then().version == 0

    def test_passes_on_what_is_no_refusal(self) -> None:
        def fail(repair: Repair) -> None:
            raise LookupError("a bug")

        with pytest.raises(LookupError, match="a bug"):
            given(Repair, ID, OPEN).when(fail)

    def test_takes_no_event_that_the_aggregate_does_not_have(self) -> None:
        class Elsewhere(Event):
            pass

        with pytest.raises(TypeError, match="Repair has no event Elsewhere"):
            given(Repair, ID, OPEN, Elsewhere())

    def test_takes_any_aggregate(self) -> None:
        class Counted(Event):
            pass

        class Counter(Aggregate[RepairId]):
            count: int = 0

            def apply(self, event: Counted) -> None:
                self.count += 1

        assert given(Counter, ID, Counted(), Counted()).when(lambda _: None).then().count == 2
