"""Given, when, then: the rules of one aggregate, without a store.

given(Account, id, AccountOpened(owner=ada)).when(lambda account: account.deposit(eur("5"))).then(Deposited(…))
given(Account, id, AccountOpened(owner=ada)).when(lambda account: account.withdraw(eur("5"))).refused(NoFunds)
given(Account, id).when(lambda _: Account.open(id, ada)).then(AccountOpened(owner=ada))
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from craton.domain import Aggregate, DomainError, Event, world
from craton.domain.aggregate import applied_events

A = TypeVar("A", bound=Aggregate[Any])
E = TypeVar("E", bound=DomainError)


def given(kind: type[A], id: Any, *events: Event) -> "Given[A]":
    """An aggregate to which these events have happened; without any events, one that has not begun.

    Raises `TypeError` for an event that the aggregate doesn't have.
    """
    aggregate, known = kind(id), applied_events(kind)
    for event in events:
        if known is not None and type(event) not in known:
            raise TypeError(f"{kind.__name__} has no event {type(event).__name__}")
        if aggregate.version == 0:
            aggregate.began_at = world.now()
        aggregate.apply(event)
        aggregate.version += 1
    return Given(aggregate)


class Given(Generic[A]):
    """An aggregate before it is asked to do something."""

    def __init__(self, aggregate: A) -> None:
        self._aggregate = aggregate

    def when(self, act: Callable[[A], Any]) -> "Then[A]":
        """Do something with the aggregate; or make one, by returning it."""
        try:
            made = act(self._aggregate)
        except DomainError as refusal:
            return Then(self._aggregate, refusal)
        return Then(made if isinstance(made, type(self._aggregate)) else self._aggregate, None)


class Then(Generic[A]):
    """What the aggregate did. `aggregate` is as it is afterwards."""

    def __init__(self, aggregate: A, refusal: DomainError | None) -> None:
        self.aggregate = aggregate
        self._refusal = refusal

    def then(self, *events: Event) -> A:
        """Check that exactly these events were recorded, in this order. Returns the aggregate as it is afterwards."""
        if self._refusal is not None:
            raise AssertionError(f"it was refused: {type(self._refusal).__name__}: {self._refusal}")
        if self.aggregate.recorded != events:
            raise AssertionError(f"recorded were {self.aggregate.recorded}, and expected {events}")
        return self.aggregate

    def refused(self, kind: type[E], **details: Any) -> E:
        """Check that it was refused with this refusal and these details. Returns the refusal."""
        if self._refusal is None:
            raise AssertionError(f"it was not refused, and recorded {self.aggregate.recorded}")
        if not isinstance(self._refusal, kind):
            raise AssertionError(f"it was refused as {type(self._refusal).__name__}: {self._refusal}")
        for name, value in details.items():
            if name not in kind.details_type().__struct_fields__:
                raise AssertionError(f"{kind.__name__} has no detail {name}")
            found = getattr(self._refusal, name)
            if found != value:
                raise AssertionError(f"{name} is {found!r}, and expected {value!r}")
        return self._refusal
