"""What the suites of refusals share: texts that no store can keep, and finding what wasn't refused."""
# ruff: noqa: S101

from craton.ports import Changeset, ChangesetRefused, Store
from craton.testing.conformance.making import appending, numbers, whole_feed

NUL = "a\0b"
HALF = "a\ud800b"
"""Half of a surrogate pair."""


async def not_refused(store: Store, units: dict[str, Changeset]) -> list[str]:
    """Write each unit between two good ones; name those that weren't refused, or whose neighbours weren't written."""
    wrong = []
    for name, unit in units.items():
        outcomes = await store.write([appending(f"before {name}"), unit, appending(f"after {name}")])
        if numbers(outcomes) != [True, False, True] or not isinstance(outcomes[1], ChangesetRefused):
            wrong.append(name)
    assert await _written(store) == [f"{place} {name}" for name in units for place in ("before", "after")]
    return wrong


async def not_refused_in_a_transaction(store: Store, units: dict[str, Changeset]) -> list[str]:
    """The same for units of one interactive transaction, which goes on after a refusal that is caught."""
    wrong = []
    async with store.transaction("read committed") as transaction:
        for name, unit in units.items():
            try:
                await transaction.write(unit)
            except ChangesetRefused:
                await transaction.write(appending(f"after {name}"))
            else:
                wrong.append(name)
    assert await _written(store) == [f"after {name}" for name in units]
    return wrong


async def _written(store: Store) -> list[str]:
    return [event.stream for event in await whole_feed(store)]
