"""What Postgres's errors mean to whoever handed a unit in."""

import asyncpg

from craton.ports import KeyTaken, NotUnique, StatementFailed, UnitRefused, VersionConflict


class Conflicts(VersionConflict):
    """Streams that aren't where the batch expects them; nothing was written."""

    def __init__(self, streams: set[str]) -> None:
        super().__init__(min(streams))
        self.streams = streams


def refusal(problem: Exception) -> UnitRefused:
    """Turn an error into the refusal that it means."""
    if isinstance(problem, UnitRefused):
        return problem
    if not isinstance(problem, asyncpg.UniqueViolationError):
        return StatementFailed(f"{type(problem).__name__}: {problem}")
    if problem.table_name == "events":
        return VersionConflict("")
    if problem.table_name == "results":
        return KeyTaken("the key was used by another unit")
    # DETAIL: Key (email)=(a@b.c) already exists.
    column = (problem.detail or "").partition("(")[2].partition(")")[0].partition(",")[0]
    return NotUnique(str(problem.table_name), column.strip('"'))
