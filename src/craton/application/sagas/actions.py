"""What is planned for a saga, and what has come of it."""

from typing import Literal

import msgspec

from craton.application.sagas.events import Fields

Kind = Literal["do", "settle", "undo"]


class Action(msgspec.Struct, frozen=True):
    """One thing to do now. `number` tells it from what was to be done of the same step before."""

    kind: Kind
    step: str
    number: int


class Done(msgspec.Struct, frozen=True):
    changes: Fields
    """Of the saga's fields."""


class Refused(msgspec.Struct, frozen=True):
    code: str
    detail: str
    command: str
    certain: bool
    changes: Fields


class Unknown(msgspec.Struct, frozen=True):
    error: str
    changes: Fields


class Settled(msgspec.Struct, frozen=True):
    ran: bool
    changes: Fields


ActionOutcome = Done | Refused | Unknown | Settled
