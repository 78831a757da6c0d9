"""The meaning of MariaDB's errors: some are the statement's fault, the others the database's."""

import re
from typing import Any, Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from craton.ports import ChangesetRefused, SerializationConflict, StatementFailed, StoreUnavailable

DUPLICATE: Final = 1062
TOO_LARGE: Final = 1153
"""The statement is larger than the server allows, and the server ends the connection."""
_COLLISIONS: Final = frozenset((1020, 1205, 1206, 1213))
"""A row that has changed since the snapshot, locks that weren't to be had, a deadlock: running it again may succeed."""
_LOST: Final = frozenset((1040, 1041, 1053, 1077, TOO_LARGE, 1158, 1159, 1160, 1161, 1203, 1226, 1290, 1836, 1927))
"""The server is full, stopping, read-only, or has ended the connection: https://mariadb.com/kb/en/mariadb-error-codes/"""
_CLIENT: Final = range(2000, 3000)
"""Errors of the connection, found by the driver."""
_DUPLICATE_KEY: Final = re.compile(r".* for key '(?:[^'.]*\.)?([^']*)'$", re.DOTALL).match
"""The end of the message; what comes before it was chosen by the caller."""


def code_of(problem: BaseException) -> int:
    """The number of an error of the server or the driver; 0 for any other error."""
    arguments = getattr(getattr(problem, "orig", None), "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else 0


def duplicate_key(problem: BaseException) -> str:
    """The name of the index that a duplicate would break."""
    arguments = getattr(getattr(problem, "orig", None), "args", ())
    found = _DUPLICATE_KEY(str(arguments[-1])) if arguments else None
    return found[1] if found else ""


def is_lost(problem: BaseException) -> bool:
    """Whether an error means that the database, or the way to it, has failed, and not the statement."""
    if isinstance(problem, OSError | PoolTimeout | TimeoutError):
        return True
    code = code_of(problem)
    return isinstance(problem, DBAPIError) and (problem.connection_invalidated or code in _LOST or code in _CLIENT)


def is_silent(problem: BaseException) -> bool:
    """Whether the server has only not answered in time, so that it may still be running the statement."""
    return isinstance(problem, TimeoutError) and not isinstance(problem, PoolTimeout)


def unavailable(problem: BaseException, *, maybe_executed: bool) -> StoreUnavailable:
    cause = getattr(problem, "orig", None) or problem
    arguments = getattr(cause, "args", ())
    what = str(arguments[-1] if arguments else type(cause).__name__).splitlines()[:1] or [type(cause).__name__]
    return StoreUnavailable(f"MariaDB can't be reached: {what[0].rstrip('.')}.", maybe_executed=maybe_executed)


def refusal(problem: Exception) -> ChangesetRefused:
    """The refusal that an error of a statement means; a duplicate is told apart before."""
    cause: Any = getattr(problem, "orig", None) or problem
    if code_of(problem) in _COLLISIONS:
        return SerializationConflict(str(cause))
    return StatementFailed(f"{type(cause).__name__}: {cause}")
