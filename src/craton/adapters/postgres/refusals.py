"""What Postgres's errors mean to whoever handed a unit in."""

import asyncpg

from craton.ports import DocumentChanged, KeyTaken, NotUnique, StatementFailed, TableTaken, UnitRefused, VersionConflict


class Conflicts(VersionConflict):
    """Streams that aren't where the batch expects them; nothing was written."""

    def __init__(self, streams: set[str]) -> None:
        super().__init__(min(streams))
        self.streams = streams


class Outdated(DocumentChanged):
    """Units that were made for another set of live inline projections than that of `revision`; nothing was written."""

    def __init__(self, revision: int) -> None:
        super().__init__("the set of live inline projections was changed")
        self.revision = revision


def refusal(problem: Exception) -> UnitRefused:
    """Turn an error into the refusal that it means."""
    if isinstance(problem, UnitRefused):
        return problem
    if isinstance(problem, asyncpg.DuplicateTableError):
        return TableTaken(str(problem))
    if not isinstance(problem, asyncpg.UniqueViolationError):
        return StatementFailed(f"{type(problem).__name__}: {problem}")
    if problem.schema_name == "pg_catalog":
        return TableTaken(str(problem))  # another transaction was making it
    if problem.table_name == "events":
        return VersionConflict("")
    if problem.table_name == "results":
        return KeyTaken("the key was used by another unit")
    # DETAIL: Key (email)=(a@b.c) already exists.
    column = (problem.detail or "").partition("(")[2].partition(")")[0].partition(",")[0]
    return NotUnique(str(problem.table_name), column.strip('"'))
