"""Searches for events, newest first, without an index but within a bound."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from craton.ports import EventFilter, Statement, StoredEvent
from craton.ports.wellformed import LARGEST_NUMBER, require_count

_EVENT: Final = tuple(StoredEvent.__struct_fields__)


def search_statement(
    wanted: EventFilter, before: int, limit: int, scanned: int, table: str, of_metadata: Callable[[str], str]
) -> Statement:
    """The statement that finds events in `table`; `of_metadata` makes the SQL that reads a field of the metadata."""
    require_count(limit)
    require_count(scanned)
    parameters: dict[str, Any] = {"before": before or LARGEST_NUMBER, "limit": limit, "scanned": scanned}
    conditions = []
    for condition, name, value in (
        ("type = :type", "type", wanted.type),
        (f"{of_metadata('actor')} = :actor", "actor", wanted.actor),
        (f"{of_metadata('correlation')} = :correlation", "correlation", wanted.correlation),
        ("time >= :start", "start", wanted.start),
        ("time < :end_", "end_", wanted.end),
    ):
        if value is not None:
            conditions.append(condition)
            parameters[name] = value
    where, of_stream, order = " AND ".join(conditions) or "true", "", "position"
    if wanted.stream is not None:
        of_stream, order, parameters["stream"] = " AND stream = :stream", "version", wanted.stream
    columns = ", ".join(f'"{name}"' for name in _EVENT)
    return Statement(
        f"WITH looked_at AS (SELECT {columns} FROM {table} WHERE position < :before{of_stream}"
        f" ORDER BY {order} DESC LIMIT :scanned),"
        f" found AS (SELECT {columns} FROM looked_at WHERE {where} ORDER BY position DESC LIMIT :limit)"
        f" SELECT bounds.number AS number_, bounds.lowest AS lowest_, found.* FROM"
        " (SELECT count(*) AS number, min(position) AS lowest FROM looked_at) AS bounds"
        " LEFT JOIN found ON true ORDER BY found.position DESC",
        parameters,
    )


def found_events(
    rows: Sequence[dict[str, Any]], limit: int, scanned: int, event_of: Callable[[tuple[Any, ...]], StoredEvent]
) -> tuple[list[StoredEvent], int]:
    """The events in that statement's rows, and the position down to which all were found (0: the beginning)."""
    events = [event_of(tuple(row[name] for name in _EVENT)) for row in rows if row["position"] is not None]
    if len(events) == limit:
        return events, events[-1].position
    return events, rows[0]["lowest_"] if rows[0]["number_"] == scanned else 0
