"""Sagas: durable processes over several modules, written as a graph of steps and of their compensations."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import timedelta
from functools import partial
from typing import (
    Any,
    ClassVar,
    Final,
    Generic,
    TypeVar,
    dataclass_transform,
    get_args,
    get_origin,
    overload,
)

import msgspec

from craton.application.codec import (
    convert,
    decode,
    encode,
    encode_to_keep,
    fingerprint,
    holds_secrets,
    shape,
    unencodable,
)
from craton.application.dependencies import Dependencies, dependencies_of
from craton.application.errors import WiringError
from craton.application.projection import event_types
from craton.application.retry import Retry, minutes
from craton.application.sagas.events import Fields
from craton.application.shapes import shape_of
from craton.domain import Event, Recorded, Value

S = TypeVar("S", bound="Saga")
Method = Callable[..., Awaitable[None]]
M = TypeVar("M", bound=Method)


UNDO_RETRY: Final = Retry(attempts=12)
STEP_TIMEOUT: Final = minutes(5)
WAIT_TIMEOUT: Final = timedelta(days=1)


class Cause(Value):
    """The reason for a compensation. A compensation that has a parameter of this type is given it."""

    code: str
    reason: str


class Step:
    """A step of a saga. Made by `@step` and `@wait_for`; on an instance it is the plain method."""

    name: str

    def __init__(
        self,
        method: Method,
        *,
        after: "Steps" = (),
        timeout: timedelta,
        retry: Retry,
        pivot: bool = False,
        saga_of: Callable[[Recorded[Any]], Any] | None = None,
    ) -> None:
        self.method = method
        self.timeout = timeout
        self.retry = retry
        self.pivot = pivot
        self.saga_of = saga_of
        """For a step that waits: returns the id of the saga that an event is for, or None if it is for none."""
        self.undo_method: Method | None = None
        self.undo_retry = UNDO_RETRY
        self._after = (after,) if isinstance(after, str | Step) else tuple(after)

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, saga: None, owner: type) -> "Step": ...
    @overload
    def __get__(self, saga: "Saga", owner: type) -> Method: ...
    def __get__(self, saga: "Saga | None", owner: type) -> "Step | Method":
        if saga is None:
            return self
        bound: Method = partial(self.method, saga)
        return bound

    @overload
    def undo(self, method: M, /) -> M: ...
    @overload
    def undo(self, /, *, retry: Retry) -> Callable[[M], M]: ...
    def undo(self, method: Any = None, /, *, retry: Retry = UNDO_RETRY) -> Any:
        """Mark the method that undoes this step: `@reserve.undo`, or `@charge.undo(retry=Retry(attempts=50))`."""
        if method is None:
            return partial(self._undone_by, retry)
        return self._undone_by(retry, method)

    def _undone_by(self, retry: Retry, method: M) -> M:
        self.undo_method, self.undo_retry = method, retry
        return method

    @property
    def after(self) -> tuple[str, ...]:
        """The names of the steps that must be done before this step begins."""
        return tuple(step if isinstance(step, str) else step.name for step in self._after)


Steps = Step | str | Iterable[Step | str]


@overload
def step(method: Method, /) -> Step: ...
@overload
def step(
    *, after: Steps = (), timeout: timedelta = STEP_TIMEOUT, retry: Retry = Retry(), pivot: bool = False
) -> Callable[[Method], Step]: ...
def step(method: Method | None = None, /, **options: Any) -> Step | Callable[[Method], Step]:
    """Mark a method of a saga as a step. Its parameters are the Apis or ports that it calls.

    `after`: the steps that must be done before; steps that don't wait for each other run in parallel.
    `timeout`: how long the step may take with all its attempts. `retry`: how often a step with an unknown outcome is
    tried. `pivot`: once this step is done, the saga is never undone any more, and later steps are tried until they
    work.
    """
    options = {"timeout": STEP_TIMEOUT, "retry": Retry(), **options}
    return partial(Step, **options) if method is None else Step(method, **options)


def wait_for(
    saga: Callable[[Recorded[Any]], Any],
    *,
    after: Steps = (),
    timeout: timedelta = WAIT_TIMEOUT,
    retry: Retry = Retry(),
) -> Callable[[Method], Step]:
    """Mark a step that waits for an event: its method has a parameter `event: Recorded[…]`.

    `saga` returns the id of the saga that an event is for, or None if it is for none. An event that comes before the
    step begins is kept for it. If no event comes within `timeout`, the saga compensates.
    """
    return partial(Step, after=after, timeout=timeout, retry=retry, saga_of=saga)


@dataclass_transform(kw_only_default=True, field_specifiers=(msgspec.field,))
class _SagaMeta(msgspec.StructMeta):
    """Fields are given by name, without each class having to say so."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> "_SagaMeta":
        return super().__new__(mcs, name, bases, namespace, **{"kw_only": True, **options})


class Saga(msgspec.Struct, metaclass=_SagaMeta, kw_only=True):
    """A durable process. Its annotated fields are its state: a step may assign to them, and they are kept.

    Steps are methods marked `@step` or `@wait_for`. When a step is refused (`DomainError`), the finished steps are
    undone, the last one first. After any other error the outcome is unknown, and the step is tried again with the same
    idempotency keys.
    """

    timeout: ClassVar[timedelta | None] = None
    """How long the whole saga may take; if this time is over before the pivot, the saga compensates."""
    former_fingerprints: ClassVar[tuple[str, ...]] = ()
    """Fingerprints of earlier definitions whose sagas this one can go on with. The log names those that it can't."""


class SagaDefinition(Generic[S]):
    """A saga's class, read and checked. Raises `WiringError` with a sentence when it can't work."""

    def __init__(self, kind: type[S]) -> None:
        self.kind = kind
        self.name = kind.__name__
        found = {name: value for base in reversed(kind.__mro__) for name, value in vars(base).items()}
        self.steps: dict[str, Step] = {name: value for name, value in found.items() if isinstance(value, Step)}
        if not self.steps:
            raise WiringError(f"saga {self.name} has no steps: mark its methods with @step")
        why = unencodable(kind)
        if why is not None:
            raise WiringError(f"saga {self.name}: its fields can't be stored: {why}")
        if holds_secrets(kind):
            raise WiringError(
                f"saga {self.name}: one of its fields holds a Secret, and operators see a saga's fields. Keep the "
                f"secret elsewhere, and let the step that needs it ask for it."
            )
        self._before = {name: self._closure(name, ()) for name in self.steps}
        self.order = tuple(sorted(self.steps, key=lambda name: (len(self._before[name]), list(self.steps).index(name))))
        """All steps, each after those that it waits for."""
        self.pivot = self._only_pivot()
        self.timeout = kind.timeout
        self.dependencies = {name: self._dependencies(name, step.method) for name, step in self.steps.items()}
        self.undo_dependencies = {
            name: self._dependencies(f"{name}.undo", step.undo_method)
            for name, step in self.steps.items()
            if step.undo_method is not None
        }
        self.cause_of = {
            name: next((parameter for parameter, hint in dependencies.items() if hint is Cause), None)
            for name, dependencies in self.undo_dependencies.items()
        }
        """For each compensation the parameter that is given the cause, if it has one."""
        for name, parameter in self.cause_of.items():
            if parameter is not None:
                del self.undo_dependencies[name][parameter]
        self.awaits = {name: self._awaited(name) for name, step in self.steps.items() if step.saga_of is not None}
        self.fingerprint = self._fingerprint(shape_of(kind))
        with_comments = self._fingerprint(shape(kind))
        self.fingerprints = (self.fingerprint, with_comments, *kind.former_fingerprints)
        """Those of all sagas that it can go on with. In earlier programs docstrings counted as well."""

    def _fingerprint(self, fields: Any) -> str:
        steps = [[name, *step.after, step.pivot, name in self.undo_dependencies] for name, step in self.steps.items()]
        return fingerprint([self.name, fields, *steps])

    def _closure(self, name: str, path: tuple[str, ...]) -> frozenset[str]:
        """All steps that come before a step, directly or indirectly."""
        if name in path:
            raise WiringError(f"saga {self.name}: {' after '.join((*path, name))} is a cycle")
        before: set[str] = set()
        for other in self.steps[name].after:
            if other not in self.steps:
                raise WiringError(f"saga {self.name}: {name} comes after {other!r}, which is none of its steps")
            before |= {other} | self._closure(other, (*path, name))
        return frozenset(before)

    def _only_pivot(self) -> str | None:
        pivots = [name for name, step in self.steps.items() if step.pivot]
        if not pivots:
            return None
        if len(pivots) > 1:
            raise WiringError(f"saga {self.name} has two pivots, {pivots[0]} and {pivots[1]}; there is one at most")
        pivot = pivots[0]
        for name, step in self.steps.items():
            if name != pivot and name not in self._before[pivot] and pivot not in self._before[name]:
                raise WiringError(
                    f"saga {self.name}: {name} runs beside the pivot {pivot}, so that nobody knows whether it may be "
                    f"undone; put it before or after"
                )
            if step.undo_method is not None and (name == pivot or pivot in self._before[name]):
                raise WiringError(f"saga {self.name}: {name} has a compensation, but past the pivot nothing is undone")
        return pivot

    def _dependencies(self, name: str, method: Method) -> Dependencies:
        return dependencies_of(method, f"saga {self.name}.{name}")

    def _awaited(self, name: str) -> tuple[type[Event], ...]:
        hint: Any = self.dependencies[name].pop("event", None)
        if get_origin(hint) is not Recorded:
            raise WiringError(f"saga {self.name}: {name} waits, so it must take event: Recorded[…]")
        awaited = event_types(get_args(hint)[0], f"saga {self.name}: {name}")
        for event in awaited:
            if holds_secrets(event):
                raise WiringError(
                    f"saga {self.name}: {name} waits for {event.__name__}, which holds a Secret. The saga keeps the "
                    f"event where operators see it; wait for one without secrets."
                )
        return awaited

    def successors(self, name: str) -> Iterator[str]:
        """The steps that wait for a step, directly or indirectly."""
        return (other for other in self.order if name in self._before[other])

    def past_pivot(self, name: str) -> bool:
        """Whether a step is the pivot or comes after it, so that it must succeed in the end."""
        return self.pivot is not None and (name == self.pivot or self.pivot in self._before[name])

    def encode(self, saga: S) -> str:
        """The saga's fields in their stored form. Raises `NotStorable`."""
        return encode_to_keep(saga, self.kind, f"saga {self.name}").decode()

    def decode(self, text: str) -> S:
        return decode(self.kind, text)

    def fields(self, saga: S) -> Fields:
        """The saga's fields as plain data, as they are read from JSON."""
        wire: Fields = msgspec.json.decode(encode(saga))
        return wire

    def changes(self, before: bytes, saga: S) -> Fields:
        """The fields that have changed since they were `before`, as JSON.

        Raises `NotStorable` for a value that couldn't be read back.
        """
        if encode(saga) == before:
            return {}
        self.encode(saga)
        former: Fields = msgspec.json.decode(before)
        return {name: value for name, value in self.fields(saga).items() if value != former[name]}

    def checked(self, text: str, changes: Fields) -> Fields:
        """Changes of stored fields, in their stored form. Raises `msgspec.ValidationError` when they don't fit."""
        unknown = changes.keys() - set(self.kind.__struct_fields__)
        if unknown:
            raise msgspec.ValidationError(f"{self.name} has no such field - at `$.value.{min(unknown)}`")
        changed = self.fields(convert({**msgspec.json.decode(text), **changes}, self.kind))
        return {name: changed[name] for name in changes}
