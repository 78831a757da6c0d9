"""Makes each page of the feed end at the end of a unit."""

from collections.abc import Sequence

from craton.ports import StoredEvent


def whole(events: Sequence[StoredEvent]) -> Sequence[StoredEvent]:
    """The events without those of the last unit, if the end of that unit is missing."""
    end = len(events)
    while end and not events[end - 1].last:
        end -= 1
    return events[:end]


def first_statement(columns: str, table: str, after: str) -> str:
    """The statement that reads the first unit after the position in the parameter `after`, however long it is."""
    return (
        f"SELECT {columns} FROM {table} WHERE position > {after} AND position <="
        f" (SELECT position FROM {table} WHERE position > {after} AND last ORDER BY position LIMIT 1)"
        " ORDER BY position"
    )
