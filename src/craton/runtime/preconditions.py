"""Preconditions: a command changes what the caller has seen, or nothing (HTTP's If-Match).

The version is that of one aggregate: of the one whose id the path holds, the last part of the path first (the path
`/carts/{cart}/lines/{line}` is about a cart); if the command uses none of those, of the only aggregate that it uses.
Whatever can't be told is refused.
"""

from craton.application.errors import StaleVersion
from craton.application.unit_of_work import Tracked, UnitOfWork
from craton.domain import AccessDenied, DomainError, NotFound, TooManyAttempts, Unauthenticated


def violated(unit: UnitOfWork, refusal: DomainError | None = None) -> StaleVersion | None:
    """Why the command may not do what it has done, or None. `refusal` is what it came to, if it was refused.

    What may not be known to the caller is not told by a version either. The commit checks that the version still holds.
    """
    seen = unit.context.precondition
    if seen is None or isinstance(refusal, AccessDenied | Unauthenticated | TooManyAttempts):
        return None
    if isinstance(refusal, NotFound):
        return StaleVersion(current=0)
    tracked = _meant(unit, seen.subjects)
    if tracked is None:
        return None if refusal is not None else StaleVersion(current=0)
    if tracked.loaded == 0 or seen.version not in (None, tracked.loaded):
        return StaleVersion(current=tracked.loaded)
    tracked.guarded = True
    return None


def _meant(unit: UnitOfWork, subjects: tuple[str, ...]) -> Tracked | None:
    for subject in reversed(subjects):
        named = [tracked for tracked in unit.tracked.values() if str(tracked.aggregate.id) == subject]
        if named:
            return next((tracked for tracked in named if tracked.aggregate._recorded), named[0])
    return next(iter(unit.tracked.values())) if len(unit.tracked) == 1 else None
