"""The meaning of SQLite's errors: some are the statement's fault, the others the database's."""

import sqlite3
from typing import Final

from craton.ports import ChangesetRefused, NotUnique, StatementFailed, StoreUnavailable

DRIVER_ERRORS: Final = (sqlite3.Error, sqlite3.Warning, OverflowError, ValueError)
"""The exceptions of the driver. All but the first concern statements and values that the driver can't pass on."""

_DRIVERS_OWN: Final = None  # the driver itself refused a value or a statement, so that there is no code of SQLite's
_FAULTS_OF_THE_STATEMENT: Final = (
    _DRIVERS_OWN,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_RANGE,
)


def refusal(problem: Exception) -> ChangesetRefused | None:
    """The refusal that an error means; None if the database has failed."""
    if isinstance(problem, ChangesetRefused):
        return problem
    if isinstance(problem, sqlite3.IntegrityError) and str(problem).startswith("UNIQUE"):
        return _not_unique(problem)
    if isinstance(problem, sqlite3.Error) and not isinstance(problem, sqlite3.IntegrityError):
        code = getattr(problem, "sqlite_errorcode", None)
        if code not in _FAULTS_OF_THE_STATEMENT or "closed database" in str(problem):
            return None
    return StatementFailed(f"{type(problem).__name__}: {problem}")


def _not_unique(problem: sqlite3.IntegrityError) -> ChangesetRefused:
    """Read `UNIQUE constraint failed: view_user_1.email`."""
    table, _, column = str(problem).rpartition(": ")[2].partition(",")[0].partition(".")
    if table == "events":
        return StatementFailed("two events of the log can't have one id")
    return NotUnique(table, column)


def meaning(problem: Exception, what: str) -> Exception:
    """The exception for a caller: a refusal, or a store that can't do `what`."""
    return refusal(problem) or StoreUnavailable(f"{what}: {problem}.", maybe_executed=False)
