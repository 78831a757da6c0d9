"""Preconditions: a command changes only the version that the caller has seen (HTTP's If-Match).

The version is that of the aggregate whose id is in the path. The last id of an aggregate counts
(`/carts/{cart}/lines/{line}` is about a cart, because a line isn't an aggregate). A typed id names only aggregates of
its own type; an untyped one names any. A path without an id is about the only aggregate that the command uses.
Ambiguous cases are refused.
"""

from collections.abc import Iterable
from typing import Any

from craton.application.errors import StaleVersion
from craton.application.unit_of_work import Tracked, UnitOfWork
from craton.domain import (
    AccessDenied,
    AggregateNotFound,
    DomainError,
    Id,
    NotFound,
    TooManyAttempts,
    Unauthenticated,
)
from craton.domain.aggregate import id_type_of


def hold_precondition(unit: UnitOfWork, refusal: DomainError | None = None) -> StaleVersion | None:
    """Have the commit check the version that the caller has seen. Returns a refusal if it doesn't match already.

    `refusal` is the outcome of the command, if it was refused. A caller that may not see the aggregate isn't told
    whether it exists, or its version.
    """
    seen = unit.context.precondition
    if seen is None or isinstance(refusal, AccessDenied | Unauthenticated | TooManyAttempts):
        return None
    if isinstance(refusal, AggregateNotFound) and refusal.id in map(str, seen.subjects):
        return StaleVersion(current=0)  # it doesn't exist, or the caller may not see it: the answer is the same
    if isinstance(refusal, NotFound):
        return None
    meant = list(_meant(unit, seen.subjects))
    if not meant:
        return None if refusal is not None else StaleVersion(current=0)
    for tracked in meant:
        if tracked.loaded == 0 or (seen.versions is not None and tracked.loaded not in seen.versions):
            return StaleVersion(current=tracked.loaded)
        tracked.guarded = True
    return None


def _meant(unit: UnitOfWork, subjects: tuple[Any, ...]) -> Iterable[Tracked]:
    for subject in reversed(subjects):
        named = [tracked for tracked in unit.tracked.values() if _is_named(tracked, subject)]
        if named:
            return named
    if any(isinstance(subject, Id) for subject in subjects) or len(unit.tracked) != 1:
        return ()
    return unit.tracked.values()


def _is_named(tracked: Tracked, subject: Any) -> bool:
    aggregate = tracked.aggregate
    expected = id_type_of(type(aggregate)) or Id
    of_its_type = not isinstance(subject, Id) or expected in (Id, Any) or isinstance(subject, expected)
    return of_its_type and str(aggregate.id) == str(subject)
