"""What other services, and what is stored, rely on: written to `craton.lock`, and compared before an upgrade.

While an upgrade rolls, services of the old and of the new version call each other and read each other's events. A
change is *compatible* if all of that works in any order. It needs *readers first* if only the new version can read what
it writes itself: the services that read it are upgraded before those that write it; meanwhile an old process leaves
what it can't read to a new one. It is *breaking* if something fails in any order.
"""

from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Any

import msgspec

from craton.application.shapes import Shape, shape_of, unreadable
from craton.domain import Event
from craton.runtime.wiring import Wiring


class LockedOperation(msgspec.Struct, frozen=True):
    kind: str
    arguments: Shape
    result: Shape


class LockedEvent(msgspec.Struct, frozen=True):
    version: int
    shape: Shape


class Lock(msgspec.Struct, frozen=True):
    """The names are such as `ledger.transfer`, `ledger.MoneyMoved`, `ordering.Checkout`."""

    operations: dict[str, LockedOperation] = {}
    events: dict[str, LockedEvent] = {}
    sagas: dict[str, str] = {}
    """The fingerprints of the definitions."""
    policies: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()


class Severity(IntEnum):
    COMPATIBLE = 0
    READERS_FIRST = 1
    BREAKING = 2

    @property
    def words(self) -> str:
        return self.name.lower().replace("_", " ")


class Difference(msgspec.Struct, frozen=True):
    severity: Severity
    sentence: str


def lock_of(wiring: Wiring) -> Lock:
    """What the modules of an app promise."""
    modules = wiring.modules
    return Lock(
        operations={
            f"{name}.{operation.name}": LockedOperation(
                operation.kind, shape_of(operation.arguments), shape_of(operation.result)
            )
            for name, module in modules.items()
            for operation in module.api.operations.values()
        },
        events={
            f"{module}.{kind.__name__}": LockedEvent(kind.schema_version, shape_of(kind))
            for kind, module in _events(wiring).items()
        },
        sagas={
            f"{name}.{saga}": definition.fingerprint
            for name, module in modules.items()
            for saga, definition in module.sagas.items()
        },
        policies=tuple(sorted(policy for module in modules.values() for policy in module.policies)),
        streams=tuple(
            sorted({f"{name}.{kind.stream_prefix}" for name, module in modules.items() for kind in module.aggregates})
        ),
    )


def _events(wiring: Wiring) -> Mapping[type[Event], str]:
    return dict(sorted(wiring.recorder_of.items(), key=lambda found: (found[1], found[0].__name__)))


def differences(old: Lock, wiring: Wiring) -> Iterator[Difference]:
    """What has changed since a lock was written, and what that means for an upgrade."""
    new = lock_of(wiring)
    yield from _of_operations(old, new)
    yield from _of_events(old, new, wiring)
    yield from _of_sagas(old, new, wiring)
    retired = frozenset[str]().union(*(module.retired for module in wiring.modules.values()))
    gone = [("policy", name) for name in old.policies if name not in new.policies]
    gone += [("stream", name) for name in old.streams if name not in new.streams]
    for what, name in gone:
        if name not in retired and name.partition(".")[2] not in retired:
            yield _breaking(f"the {what} {name} is gone: keep its name, or retire it")


def _of_operations(old: Lock, new: Lock) -> Iterator[Difference]:
    for name, before in old.operations.items():
        now = new.operations.get(name)
        if now is None:
            yield _breaking(f"{name} is gone, and services of the old version still call it")
            continue
        if now.kind != before.kind:
            yield _breaking(f"{name} was a {before.kind} and is a {now.kind}")
        for why in unreadable(before.arguments, now.arguments):
            yield _breaking(f"{name} doesn't take what services of the old version send: {why}")
        for why in unreadable(now.result, _open(before.result)):
            yield _breaking(f"services of the old version can't read what {name} answers; to them, {why}")
        for why in unreadable(before.result, _open(now.result)):
            yield _breaking(f"services of the new version can't read what {name} of the old one answers: {why}")
        fits = not unreadable(before.arguments, now.arguments) and not unreadable(now.result, _open(before.result))
        if fits and (now.arguments != before.arguments or now.result != before.result):
            yield Difference(Severity.COMPATIBLE, f"{name} has changed")
    for name in new.operations.keys() - old.operations.keys():
        yield Difference(
            Severity.COMPATIBLE, f"{name} is new; until its module is upgraded, calls of it are answered by nobody"
        )


def _of_events(old: Lock, new: Lock, wiring: Wiring) -> Iterator[Difference]:
    for name, before in old.events.items():
        now = new.events.get(name)
        module, _, event = name.partition(".")
        if now is None:
            if module not in wiring.modules or event not in wiring.modules[module].events.retired:
                yield _breaking(f"the event {name} is gone: keep its class, or retire it")
        elif now.version < before.version:
            yield _breaking(f"the event {name} was at version {before.version} and is at version {now.version}")
        elif now.version > before.version:
            yield Difference(
                Severity.READERS_FIRST,
                f"the event {name} is at version {now.version}: upgrade the services that read it before {module}'s",
            )
        else:
            for why in unreadable(before.shape, now.shape):
                yield _breaking(f"stored events {name} can't be read: {why}; raise its version and add an upcaster")
            for why in unreadable(now.shape, _open(before.shape)):
                yield Difference(
                    Severity.READERS_FIRST, f"services of the old version can't read the event {name}; to them, {why}"
                )
    for name in new.events.keys() - old.events.keys():
        yield Difference(Severity.COMPATIBLE, f"the event {name} is new; services of the old version don't ask for it")


def _of_sagas(old: Lock, new: Lock, wiring: Wiring) -> Iterator[Difference]:
    for name, before in old.sagas.items():
        module, _, saga = name.partition(".")
        definition = wiring.modules[module].sagas.get(saga) if module in wiring.modules else None
        if definition is None:
            yield _breaking(f"the saga {name} is gone; those that have begun must have ended before (craton drain)")
        elif before != definition.fingerprint and before not in definition.fingerprints:
            yield _breaking(
                f"the saga {name} has changed; those that have begun must have ended before (craton drain), or "
                f"former_fingerprints must name {before} if the new definition can continue them"
            )
    for name in new.sagas.keys() - old.sagas.keys():
        yield Difference(Severity.COMPATIBLE, f"the saga {name} is new")


def _breaking(sentence: str) -> Difference:
    return Difference(Severity.BREAKING, sentence)


def _open(shape: Shape) -> Shape:
    """The shape of a type that is read without the fields that it doesn't know."""
    structs: list[dict[str, Any]] = [
        {name: part for name, part in struct.items() if name != "closed"} for struct in shape["structs"]
    ]
    return {**shape, "structs": structs}
