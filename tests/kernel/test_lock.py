"""craton.lock says what upgrades must keep to: each change since then is compatible, needs readers first, or breaks."""

from typing import Any

import msgspec
import pytest

from craton.runtime import App
from craton.runtime.compatibility.lock import Lock, LockedEvent, LockedOperation, Severity, differences, lock_of
from market.app import app as market
from tests.services.fair import FAIR

LOCK = lock_of(FAIR.wiring)
PAY, PAID = LOCK.operations["till.pay"], LOCK.events["till.Paid"]


def with_operation(name: str, operation: LockedOperation | None) -> Lock:
    """The lock of an older version of the fair, in which an operation was another one, or wasn't there."""
    others = {known: found for known, found in LOCK.operations.items() if known != name}
    return msgspec.structs.replace(LOCK, operations=others if operation is None else {**others, name: operation})


def with_event(name: str, event: LockedEvent | None) -> Lock:
    others = {known: found for known, found in LOCK.events.items() if known != name}
    return msgspec.structs.replace(LOCK, events=others if event is None else {**others, name: event})


def with_fields(shape: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A shape whose first struct has these fields, or lacks those that are None."""
    first, *others = shape["structs"]
    kept = {name: field for name, field in {**first["fields"], **fields}.items() if field is not None}
    return {**shape, "structs": [{**first, "fields": kept}, *others]}


INTEGER = {"required": True, "type": {"is": "integer"}}
OPTIONAL = {"required": False, "type": {"is": "integer"}}
TEXT = {"required": True, "type": {"is": "text"}}


def arguments(**fields: Any) -> LockedOperation:
    return msgspec.structs.replace(PAY, arguments=with_fields(PAY.arguments, **fields))


def event(**fields: Any) -> LockedEvent:
    return msgspec.structs.replace(PAID, shape=with_fields(PAID.shape, **fields))


def raised(version: int) -> LockedEvent:
    return msgspec.structs.replace(PAID, version=version)


SAGAS = lock_of(market.wiring)
CHANGES: dict[str, tuple[Lock, App, Severity, str]] = {
    "nothing": (LOCK, FAIR, Severity.COMPATIBLE, ""),
    "an optional argument": (
        with_operation("till.pay", arguments(amount=None)),
        FAIR,
        Severity.COMPATIBLE,
        "till.pay has changed",
    ),
    "a new operation": (with_operation("till.pay", None), FAIR, Severity.COMPATIBLE, "till.pay is new"),
    "a new argument without a default": (
        with_operation("till.pay", arguments(purse=None)),
        FAIR,
        Severity.BREAKING,
        "till.pay doesn't take what services of the old version send: purse is new and has no default",
    ),
    "an argument that is gone": (
        with_operation("till.pay", arguments(tip=OPTIONAL)),
        FAIR,
        Severity.BREAKING,
        "till.pay doesn't take what services of the old version send: tip is gone",
    ),
    "an argument of another type": (
        with_operation("till.pay", arguments(amount=TEXT)),
        FAIR,
        Severity.BREAKING,
        "amount was text and is integer",
    ),
    "a result of another type": (
        with_operation(
            "till.left", msgspec.structs.replace(PAY, kind="query", result={"root": TEXT["type"], "structs": []})
        ),
        FAIR,
        Severity.BREAKING,
        "services of the old version can't read what till.left answers",
    ),
    "an operation that is gone": (
        with_operation("till.refund", PAY),
        FAIR,
        Severity.BREAKING,
        "till.refund is gone, and services of the old version still call it",
    ),
    "a command that has become a query": (
        with_operation("till.left", msgspec.structs.replace(LOCK.operations["till.left"], kind="command")),
        FAIR,
        Severity.BREAKING,
        "till.left was a command and is a query",
    ),
    "a new event": (with_event("till.Paid", None), FAIR, Severity.COMPATIBLE, "the event till.Paid is new"),
    "a new version of an event": (
        with_event("till.Paid", raised(0)),
        FAIR,
        Severity.READERS_FIRST,
        "the event till.Paid is at version 1: upgrade the services that read it before till's",
    ),
    "an older version of an event": (
        with_event("till.Paid", raised(2)),
        FAIR,
        Severity.BREAKING,
        "was at version 2 and is at version 1",
    ),
    "a new field of an event without a default": (
        with_event("till.Paid", event(left=None)),
        FAIR,
        Severity.BREAKING,
        "stored events till.Paid can't be read: left is new and has no default",
    ),
    "a field of an event that is gone": (
        with_event("till.Paid", event(tip=INTEGER)),
        FAIR,
        Severity.READERS_FIRST,
        "services of the old version can't read the event till.Paid; to them, tip is new and has no default",
    ),
    "an event that is gone": (
        with_event("till.Refunded", PAID),
        FAIR,
        Severity.BREAKING,
        "the event till.Refunded is gone: keep its class, or retire it",
    ),
    "a policy that is gone": (
        msgspec.structs.replace(LOCK, policies=(*LOCK.policies, "kiosk.smile")),
        FAIR,
        Severity.BREAKING,
        "the policy kiosk.smile is gone: keep its name, or retire it",
    ),
    "a stream that is gone": (
        msgspec.structs.replace(LOCK, streams=(*LOCK.streams, "till.bag")),
        FAIR,
        Severity.BREAKING,
        "the stream till.bag is gone",
    ),
    "a saga that has changed": (
        msgspec.structs.replace(SAGAS, sagas={**SAGAS.sagas, "ordering.Checkout": "another"}),
        market,
        Severity.BREAKING,
        "the saga ordering.Checkout has changed; those that have begun must have ended before (craton drain)",
    ),
    "a saga that continues those of its former definition": (
        msgspec.structs.replace(
            SAGAS,
            sagas={
                **SAGAS.sagas,
                "ordering.Checkout": market.modules["ordering"].sagas["Checkout"].kind.former_fingerprints[0],
            },
        ),
        market,
        Severity.COMPATIBLE,
        "",
    ),
    "a saga that is gone": (
        msgspec.structs.replace(LOCK, sagas={"till.Errand": "x"}),
        FAIR,
        Severity.BREAKING,
        "the saga till.Errand is gone",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_is_told_with_what_it_means_for_an_upgrade(change: str) -> None:
    old, app, severity, expected = CHANGES[change]

    found = list(differences(old, app.wiring))

    assert max((difference.severity for difference in found), default=Severity.COMPATIBLE) is severity
    assert expected in "\n".join(difference.sentence for difference in found if difference.severity is severity)
