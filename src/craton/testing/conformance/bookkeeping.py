"""Idempotency results, checkpoints, documents, timers."""
# ruff: noqa: S101

import asyncio
from datetime import timedelta

from msgspec.structs import replace

from craton.ports import (
    Changeset,
    Document,
    DocumentChanged,
    KeyTaken,
    PositionPassed,
    Store,
    StoredResult,
    Timer,
    VersionConflict,
)
from craton.testing.conformance.making import NOON, append, appending, attempt, numbers, versions, write


def _result(key: str, *, scope: str = "ann/pay", outcome: str = '{"result":1}') -> StoredResult:
    return StoredResult(scope, key, f"request-{key}", outcome, NOON)


class IdempotencyResults:
    """The answer to a command with a key is written once, in the unit that the key guards."""

    async def test_an_answer_is_found_with_the_position_of_its_last_event(self, store: Store) -> None:
        position = await write(store, Changeset(appends=[append("a", 0, 3)], result=_result("k")))

        found = await store.find_result("ann/pay", "k")

        assert found == StoredResult("ann/pay", "k", "request-k", '{"result":1}', NOON, position)

    async def test_an_answer_without_events_has_position_zero(self, store: Store) -> None:
        await write(store, appending("a"))

        await write(store, Changeset(result=_result("k")))

        found = await store.find_result("ann/pay", "k")
        assert found is not None
        assert found.position == 0

    async def test_a_second_unit_with_the_key_is_refused_and_has_no_effect(self, store: Store) -> None:
        await write(store, appending("a", result=_result("k", outcome="first")))

        refusal = await attempt(store, appending("b", result=_result("k", outcome="second")))

        assert isinstance(refusal, KeyTaken)
        assert await versions(store, "b") == []
        found = await store.find_result("ann/pay", "k")
        assert found is not None
        assert found.outcome == "first"

    async def test_of_two_units_in_one_batch_the_first_gets_the_key(self, store: Store) -> None:
        outcomes = await store.write(
            [appending("a", result=_result("k")), appending("b", result=_result("k")), appending("c")]
        )

        assert numbers(outcomes) == [True, False, True]
        assert isinstance(outcomes[1], KeyTaken)
        assert [await versions(store, name) for name in "abc"] == [[1], [], [1]]

    async def test_a_key_that_was_used_before_costs_its_batch_no_position(self, store: Store) -> None:
        first = await write(store, appending("a", result=_result("k")))

        outcomes = await store.write([appending("b"), appending("c", result=_result("k")), appending("d")])

        assert (outcomes[0], outcomes[2]) == (first + 1, first + 2)
        assert isinstance(outcomes[1], KeyTaken)

    async def test_what_builds_on_a_unit_whose_key_was_used_before_is_refused_with_it(self, store: Store) -> None:
        await write(store, appending("a", result=_result("k")))

        outcomes = await store.write([appending("b", result=_result("k")), appending("b", 1)])

        assert isinstance(outcomes[1], VersionConflict)

    async def test_the_same_key_of_another_scope_is_another_key(self, store: Store) -> None:
        outcomes = await store.write([Changeset(result=_result("k")), Changeset(result=_result("k", scope="bob/pay"))])

        assert numbers(outcomes) == [True, True]

    async def test_the_answers_of_a_batch_have_each_its_own_position(self, store: Store) -> None:
        first, second, third = await store.write(
            [
                appending("a", 0, 2, result=_result("one")),
                Changeset(result=_result("two")),
                appending("b", 0, 2, result=_result("three")),
            ]
        )

        found = [await store.find_result("ann/pay", key) for key in ("one", "two", "three")]
        assert [result.position for result in found if result] == [first, 0, third]
        assert second == 0

    async def test_an_unused_key_has_no_answer(self, store: Store) -> None:
        assert await store.find_result("ann/pay", "unheard of") is None

    async def test_the_answer_of_a_refused_unit_is_not_kept(self, store: Store) -> None:
        await attempt(store, appending("a", 5, result=_result("k")))

        assert await store.find_result("ann/pay", "k") is None

    async def test_old_answers_are_forgotten_a_few_at_a_time(self, store: Store) -> None:
        for key, hours in (("a", 0), ("b", 2), ("c", 0), ("d", 3)):
            await write(store, Changeset(result=replace(_result(key), time=NOON + timedelta(hours=hours))))

        looked_at = await store.forget_results(NOON + timedelta(hours=1), ("", ""), 2, "§")
        assert looked_at == ("ann/pay", "b")
        assert [key for key in "abcd" if await store.find_result("ann/pay", key)] == ["b", "c", "d"]

        assert await store.forget_results(NOON + timedelta(hours=1), looked_at, 3, "§") is None
        assert [key for key in "abcd" if await store.find_result("ann/pay", key)] == ["b", "d"]

    async def test_answers_under_spared_keys_are_not_forgotten(self, store: Store) -> None:
        for key in ("§a", "b§"):
            await write(store, Changeset(result=_result(key)))

        assert await store.forget_results(NOON + timedelta(hours=1), ("", ""), 10, "§") is None

        assert [key for key in ("§a", "b§") if await store.find_result("ann/pay", key)] == ["§a"]

    async def test_a_key_whose_answer_is_forgotten_may_be_used_again(self, store: Store) -> None:
        await write(store, appending("a", result=_result("k")))
        await store.forget_results(NOON + timedelta(hours=1), ("", ""), 10, "§")

        await write(store, appending("b", result=_result("k")))

        assert await versions(store, "b") == [1]


class Checkpoints:
    """The positions that subscriptions have reached."""

    async def test_a_new_subscription_is_at_the_beginning(self, store: Store) -> None:
        assert await store.checkpoint("reader") == 0

    async def test_a_checkpoint_is_what_was_written_last(self, store: Store) -> None:
        await write(store, Changeset(checkpoint=("reader", 5)))
        await write(store, Changeset(checkpoint=("reader", 9)))

        assert (await store.checkpoint("reader"), await store.checkpoint("other")) == (9, 0)

    async def test_a_unit_is_refused_when_a_subscription_has_gone_beyond_its_limit(self, store: Store) -> None:
        await write(store, Changeset(checkpoint=("reader", 5)))

        assert await write(store, Changeset(checkpoint_at_most=("reader", 5), checkpoint=("swap", 1))) == 0
        refusal = await attempt(store, Changeset(checkpoint_at_most=("reader", 4), checkpoint=("swap", 2)))

        assert isinstance(refusal, PositionPassed)
        assert await store.checkpoint("swap") == 1

    async def test_a_subscription_that_has_not_begun_is_beyond_no_limit(self, store: Store) -> None:
        assert await write(store, Changeset(checkpoint_at_most=("nobody", 0), checkpoint=("swap", 1))) == 0

    async def test_of_two_that_begin_a_subscription_at_once_one_is_refused(
        self, store: Store, second_store: Store
    ) -> None:
        def beginning(round: int, stream: str) -> Changeset:
            reader = f"reader-{round}"
            return appending(f"{stream}-{round}", checkpoint=(reader, 5), checkpoint_at_most=(reader, 0))

        for round in range(20):
            outcomes = await asyncio.gather(
                attempt(store, beginning(round, "a")), attempt(second_store, beginning(round, "b"))
            )

            assert sorted(numbers(outcomes)) == [False, True]
            (refusal,) = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
            assert isinstance(refusal, PositionPassed)

    async def test_what_was_handled_once_is_not_handled_again(self, store: Store) -> None:
        def handled(stream: str, position: int) -> Changeset:
            """Write as a reader does: only if its checkpoint is still before the event."""
            return appending(stream, checkpoint=("reader", position), checkpoint_at_most=("reader", position - 1))

        await write(store, handled("a", 5))

        outcomes = await store.write([handled("b", 5), handled("c", 6), handled("d", 6)])

        assert numbers(outcomes) == [False, True, False]
        assert [await versions(store, name) for name in "abcd"] == [[1], [], [1], []]

    async def test_a_limit_holds_for_events_alone_too(self, store: Store) -> None:
        await write(store, Changeset(checkpoint=("reader", 5)))

        assert isinstance(await attempt(store, appending("a", checkpoint_at_most=("reader", 4))), PositionPassed)

    async def test_a_unit_is_refused_when_the_log_has_grown_beyond_its_limit(self, store: Store) -> None:
        head = await write(store, appending("a", 0, 2))

        assert await write(store, Changeset(head_at_most=head, documents=[Document("d", 1, "{}")])) == 0
        refusal = await attempt(store, Changeset(head_at_most=head - 1, documents=[Document("e", 1, "{}")]))

        assert isinstance(refusal, PositionPassed)
        assert await store.document("e") is None

    async def test_the_limit_of_the_log_holds_for_a_unit_of_guards_alone_too(self, store: Store) -> None:
        await write(store, appending("a", 0, 2))

        assert isinstance(await attempt(store, Changeset(guards=[("a", 2)], head_at_most=0)), PositionPassed)


class Documents:
    """Small pieces of state that are compared and replaced."""

    async def test_a_document_is_made_and_then_replaced_revision_by_revision(self, store: Store) -> None:
        assert await store.document("d") is None

        await write(store, Changeset(documents=[Document("d", 1, "one")]))
        await write(store, Changeset(documents=[Document("d", 2, "two")]))

        assert await store.document("d") == Document("d", 2, "two")

    async def test_a_document_at_another_revision_is_not_replaced(self, store: Store) -> None:
        await write(store, Changeset(documents=[Document("d", 1, "one")]))

        for revision in (1, 3):
            refusal = await attempt(store, appending("a", documents=[Document("d", revision, "wrong")]))
            assert isinstance(refusal, DocumentChanged)

        assert await store.document("d") == Document("d", 1, "one")
        assert await versions(store, "a") == []

    async def test_of_two_that_replace_the_same_revision_one_is_refused(self, store: Store) -> None:
        outcomes = await store.write(
            [Changeset(documents=[Document("d", 1, "mine")]), Changeset(documents=[Document("d", 1, "yours")])]
        )

        assert numbers(outcomes) == [True, False]
        assert await store.document("d") == Document("d", 1, "mine")

    async def test_a_unit_that_relies_on_a_document_is_refused_when_it_was_replaced(self, store: Store) -> None:
        await write(store, Changeset(documents=[Document("d", 1, "one")]))

        assert await write(store, appending("a", relies_on=[("d", 1)])) > 0
        await write(store, Changeset(documents=[Document("d", 2, "two")]))
        refusal = await attempt(store, appending("a", 1, relies_on=[("d", 1)]))

        assert isinstance(refusal, DocumentChanged)
        assert await versions(store, "a") == [1]

    async def test_a_unit_that_relies_on_a_document_that_is_not_there_is_refused(self, store: Store) -> None:
        assert isinstance(await attempt(store, appending("a", relies_on=[("d", 1)])), DocumentChanged)

    async def test_a_replacement_by_an_earlier_unit_of_the_batch_counts(self, store: Store) -> None:
        await write(store, Changeset(documents=[Document("d", 1, "one")]))

        outcomes = await store.write(
            [
                Changeset(documents=[Document("d", 2, "two")]),
                appending("a", relies_on=[("d", 1)]),
                appending("b", relies_on=[("d", 2)]),
            ]
        )

        assert numbers(outcomes) == [True, False, True]


def _timer(id: str, minutes: int = 0) -> Timer:
    return Timer(id, NOON + timedelta(minutes=minutes), "remind", '{"who":"ann"}', '{"correlation":"c"}')


class Timers:
    """Commands that wait for their time."""

    async def test_timers_come_due_in_the_order_of_their_times(self, store: Store) -> None:
        await write(store, Changeset(timers=[_timer("late", 2), _timer("soon", 1), _timer("far", 60)]))

        due = await store.due_timers(NOON + timedelta(minutes=5), 10)

        assert list(due) == [_timer("soon", 1), _timer("late", 2)]
        assert await store.next_timer() == NOON + timedelta(minutes=1)

    async def test_a_timer_is_due_at_its_very_instant_and_not_before(self, store: Store) -> None:
        await write(store, Changeset(timers=[_timer("t")]))

        assert not await store.due_timers(NOON - timedelta(microseconds=1), 10)
        assert await store.due_timers(NOON, 10)

    async def test_no_more_timers_are_read_than_were_asked_for(self, store: Store) -> None:
        await write(store, Changeset(timers=[_timer(f"t{n}", n) for n in range(5)]))

        due = await store.due_timers(NOON + timedelta(days=1), 2)

        assert [timer.id for timer in due] == ["t0", "t1"]

    async def test_a_timer_that_is_done_is_gone(self, store: Store) -> None:
        await write(store, Changeset(timers=[_timer("t")]))

        await write(store, appending("a", timers_done=["t"]))

        assert not await store.due_timers(NOON, 10)
        assert await store.next_timer() is None

    async def test_a_timer_takes_effect_once(self, store: Store) -> None:
        await write(store, Changeset(timers=[_timer("t")]))

        outcomes = await store.write([appending("a", timers_done=["t"]), appending("b", timers_done=["t"])])

        assert numbers(outcomes) == [True, False]
        assert isinstance(outcomes[1], KeyTaken)
        assert await versions(store, "b") == []

    async def test_a_timer_is_replaced_by_one_that_says_how_often_and_why_it_failed(self, store: Store) -> None:
        failed = replace(_timer("t", 5), attempts=3, failures=2, error="ValueError: no")
        await write(store, Changeset(timers=[_timer("t")]))

        await write(store, Changeset(timers_done=["t"], timers=[failed]))

        assert list(await store.due_timers(NOON + timedelta(minutes=5), 10)) == [failed]

    async def test_a_parked_timer_is_kept_and_never_due(self, store: Store) -> None:
        second, first = (
            replace(_timer("a", 2), parked=True),
            replace(_timer("b", 1), parked=True, error="ValueError: no"),
        )
        await write(store, Changeset(timers=[second, first, _timer("waits", 3)]))

        assert list(await store.parked_timers()) == [first, second]
        assert list(await store.due_timers(NOON + timedelta(days=1), 10)) == [_timer("waits", 3)]
        assert await store.next_timer() == NOON + timedelta(minutes=3)

    async def test_where_all_timers_are_parked_none_is_the_next(self, store: Store) -> None:
        await write(store, Changeset(timers=[replace(_timer("t"), parked=True)]))

        assert await store.next_timer() is None

    async def test_a_parked_timer_can_be_retried_or_dropped(self, store: Store) -> None:
        await write(store, Changeset(timers=[replace(_timer(id), parked=True) for id in ("again", "gone")]))

        await write(store, Changeset(timers_done=["again", "gone"], timers=[_timer("again")]))

        assert list(await store.due_timers(NOON, 10)) == [_timer("again")]
        assert list(await store.parked_timers()) == []

    async def test_the_timers_of_a_refused_unit_are_not_set(self, store: Store) -> None:
        await attempt(store, appending("a", 5, timers=[_timer("t")]))

        assert await store.next_timer() is None

    async def test_the_commands_that_wait_are_told_once_each(self, store: Store) -> None:
        cancel = Timer("c", NOON, "cancel", "{}", "{}")
        await write(store, Changeset(timers=[_timer("a"), _timer("b"), cancel, Timer("d", NOON, "done", "{}", "{}")]))
        await write(store, Changeset(timers_done=["d"]))

        assert sorted(await store.timer_operations()) == ["cancel", "remind"]
