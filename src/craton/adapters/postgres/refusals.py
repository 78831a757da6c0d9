"""The meaning of Postgres's errors: some are the statement's fault, the others the database's."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeGuard

import asyncpg

from craton.ports import (
    ChangesetRefused,
    DocumentChanged,
    KeyTaken,
    NotUnique,
    SerializationConflict,
    StatementFailed,
    TableTaken,
    VersionConflict,
)

LOST: Final = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InternalClientError,
)
"""Errors that mean that the database, or the way to it, has failed, and not the statement."""
_COLLISIONS: Final = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.LockNotAvailableError)
"""Errors that mean that another transaction was in the way: the same statement may succeed when it is run again."""


class Conflicts(VersionConflict):
    """Some streams aren't at the versions that the batch expects; nothing was written."""

    def __init__(self, streams: set[str]) -> None:
        super().__init__(min(streams))
        self.streams = streams


class Taken(KeyTaken):
    """Some keys of the batch were used before; nothing was written. `keys` are they, each with its scope."""

    def __init__(self, keys: set[tuple[str, str]]) -> None:
        super().__init__("the key was used by another unit")
        self.keys = keys


class Outdated(DocumentChanged):
    """Some units were made for another set of live inline projections than that of `revision`; nothing was written."""

    def __init__(self, revision: int) -> None:
        super().__init__("the set of live inline projections was changed")
        self.revision = revision


def is_lost(connection: Any) -> bool:
    """Whether a borrowed connection has ended, so that its errors say nothing about the statement."""
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:  # it has ended, and the pool has taken it back
        return True


@contextmanager
def faults_as_refusals(connection: Any) -> Iterator[None]:
    """Turn errors in the block into refusals, unless the database itself has failed."""
    try:
        yield
    except Exception as problem:
        if not is_statements_fault(problem, connection):
            raise
        raise refusal(problem) from problem


def is_statements_fault(problem: BaseException, connection: Any) -> TypeGuard[Exception]:
    """Whether an error is due to the statement, and neither to the database nor to the program."""
    at_fault = isinstance(problem, asyncpg.PostgresError | asyncpg.InterfaceError | ValueError)
    return at_fault and not isinstance(problem, LOST) and not is_lost(connection)


def refusal(problem: Exception) -> ChangesetRefused:
    """The refusal that an error means."""
    if isinstance(problem, ChangesetRefused):
        return problem
    if isinstance(problem, _COLLISIONS):
        return SerializationConflict(str(problem))
    if isinstance(problem, asyncpg.DuplicateTableError):
        return TableTaken(str(problem))
    if not isinstance(problem, asyncpg.UniqueViolationError):
        return StatementFailed(f"{type(problem).__name__}: {problem}")
    if problem.schema_name == "pg_catalog":
        return TableTaken(str(problem))  # another transaction was making it
    if problem.table_name == "events":
        if problem.constraint_name == "events_id":
            return StatementFailed("two events of the log can't have one id")
        return VersionConflict("")
    if problem.table_name == "results":
        return KeyTaken("the key was used by another unit")
    # DETAIL: Key (email)=(a@b.c) already exists.
    column = (problem.detail or "").partition("(")[2].partition(")")[0].partition(",")[0]
    return NotUnique(str(problem.table_name), column.strip('"'))
