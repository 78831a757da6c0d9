"""Leases: each lets one owner at a time do something, and keeps the others out."""
# ruff: noqa: S101

from craton.ports import LONGEST_LEASE_SECONDS, Changeset, Fence, FenceLost, Store
from craton.testing.conformance.making import appending, attempt, numbers, versions, write

LONG = LONGEST_LEASE_SECONDS
"""A time, in seconds, that doesn't end while a test runs."""
OVER = 0.0
"""The length, in seconds, of a lease that runs out at once."""


class LeaseHolding:
    async def test_while_one_holds_a_lease_no_other_gets_it(self, store: Store, second_store: Store) -> None:
        assert await store.acquire("lease", "ann", LONG) is not None

        assert await second_store.acquire("lease", "bob", LONG) is None
        assert await store.acquire("lease", "bob", LONG) is None

    async def test_the_holder_renews_it_under_the_same_number(self, store: Store) -> None:
        number = await store.acquire("lease", "ann", LONG)

        assert await store.acquire("lease", "ann", LONG) == number

    async def test_the_number_grows_each_time_the_lease_changes_hands(self, store: Store) -> None:
        taken = []
        for owner in ("ann", "bob", "ann"):
            taken.append(await store.acquire("lease", owner, LONG))
            await store.release("lease", owner)

        numbers = [number for number in taken if number is not None]
        assert len(numbers) == 3
        assert sorted(set(numbers)) == numbers

    async def test_a_lease_that_has_run_out_passes_to_the_next_owner_that_asks(
        self, store: Store, second_store: Store
    ) -> None:
        first = await store.acquire("lease", "ann", OVER)

        second = await second_store.acquire("lease", "bob", LONG)

        assert first is not None
        assert second is not None
        assert second > first
        assert await store.acquire("lease", "ann", LONG) is None

    async def test_only_its_holder_releases_a_lease(self, store: Store) -> None:
        await store.acquire("lease", "ann", LONG)

        await store.release("lease", "bob")

        assert await store.acquire("lease", "bob", LONG) is None

    async def test_leases_of_different_names_are_independent(self, store: Store) -> None:
        assert await store.acquire("one", "ann", LONG) is not None
        assert await store.acquire("two", "bob", LONG) is not None


class Fencing:
    """An owner that has lost a lease can't write any more, even if it doesn't know of the loss."""

    async def test_a_unit_under_the_lease_is_written(self, store: Store) -> None:
        number = await store.acquire("lease", "ann", LONG)
        assert number is not None

        assert await write(store, appending("a", fence=Fence("lease", number))) > 0

    async def test_a_unit_with_an_old_fence_is_refused_and_its_neighbours_are_written(self, store: Store) -> None:
        old = await store.acquire("lease", "ann", OVER)
        new = await store.acquire("lease", "bob", LONG)
        assert old is not None
        assert new is not None

        outcomes = await store.write(
            [
                appending("a", fence=Fence("lease", old)),
                appending("b", fence=Fence("lease", new)),
                Changeset(checkpoint=("reader", 1)),
            ]
        )

        assert numbers(outcomes) == [False, True, True]
        assert isinstance(outcomes[0], FenceLost)
        assert await versions(store, "a") == []

    async def test_a_fence_of_a_lease_that_was_never_taken_is_refused(self, store: Store) -> None:
        assert isinstance(await attempt(store, appending("a", fence=Fence("lease", 1))), FenceLost)
