"""Checks that every store makes before it asks its database: a unit's parts must agree, and must be storable."""

from datetime import datetime
from typing import Final

from craton.ports.errors import StatementFailed
from craton.ports.records import Changeset

LARGEST_VERSION: Final = 2**31 - 1
LARGEST_NUMBER: Final = 2**63 - 1
SHOWN: Final = 60


def require_well_formed(unit: Changeset) -> None:
    """Raise `StatementFailed`, with a sentence, unless the events, guards, snapshots and key of a unit make sense."""
    try:
        _require_well_formed(unit)
    except TypeError as problem:
        raise StatementFailed(f"the unit holds a value of a wrong type: {problem}") from problem


def _require_well_formed(unit: Changeset) -> None:
    versions: dict[str, int] = {}
    ids: list[str] = []
    texts: list[str] = []
    for append in unit.appends:
        stream, version = append.stream, append.expected
        if stream in versions:
            raise StatementFailed(f"the unit appends to the stream {stream!r} twice")
        _require_version(stream, version, len(append.events))
        versions[stream] = version
        texts.append(stream)
        for event in append.events:
            version += 1
            if event.version != version or event.stream != stream:
                raise StatementFailed(
                    f"version {event.version} of the stream {event.stream!r} can't be appended as version {version} "
                    f"of the stream {stream!r}"
                )
            if not isinstance(event.time, datetime):
                raise StatementFailed(f"{event.time!r} is no time; the stream {stream!r} has it at version {version}")
            ids.append(event.id)
            texts += (event.id, event.type, event.data, event.metadata)
    if len(ids) > 1 and len(set(ids)) < len(ids):
        raise StatementFailed("two events of the unit have one id")
    for stream, version in unit.guards:
        _require_version(stream, version, 0)
        if versions.setdefault(stream, version) != version:
            raise StatementFailed(
                f"the unit relies on the stream {stream!r} being at version {version} and at version {versions[stream]}"
            )
        texts.append(stream)
    for snapshot in unit.snapshots:
        _require_version(snapshot.stream, snapshot.version, 0)
        texts += (snapshot.stream, snapshot.fingerprint, snapshot.state)
    if unit.result is not None:
        texts += (unit.result.scope, unit.result.key, unit.result.fingerprint, unit.result.outcome)
    if not storable("".join(texts)):
        for text in texts:
            require_storable(text)


def storable(text: str) -> bool:
    """Whether every database can hold the text: one without NUL characters and halves of surrogate pairs."""
    if "\0" in text:
        return False
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return False
    return True


def require_storable(text: str) -> None:
    """Raise `StatementFailed` for a text that not every database can hold."""
    if not storable(text):
        raise StatementFailed(f"{text[:SHOWN]!r} can't be stored: it holds a NUL character or half of a surrogate pair")


def require_count(*numbers: object) -> None:
    """Raise `StatementFailed` unless these can be numbers of rows to read or to skip."""
    for number in numbers:
        if not isinstance(number, int) or not 0 <= number <= LARGEST_NUMBER:
            raise StatementFailed(f"{number!r} is no number of rows")


def _require_version(stream: str, version: int, following: int) -> None:
    if not 0 <= version <= LARGEST_VERSION - following:
        raise StatementFailed(f"{version} is no version that the stream {stream!r} can be at")
