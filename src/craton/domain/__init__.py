"""The vocabulary of business rules. Pure: nothing here does I/O, reads a clock or depends on the runtime."""

from craton.domain.aggregate import Aggregate
from craton.domain.errors import (
    AccessDenied,
    AggregateNotFound,
    Conflict,
    DomainError,
    InvalidValue,
    NotFound,
    TooManyAttempts,
    Unauthenticated,
)
from craton.domain.event import Event, Metadata, Recorded
from craton.domain.id import Id, uuid7
from craton.domain.money import AmountTooLarge, Currency, CurrencyMismatch, Money, Total
from craton.domain.secret import Secret
from craton.domain.text import Name, Text
from craton.domain.value import Instant, Scalar, Value

__all__ = [
    "AccessDenied",
    "Aggregate",
    "AggregateNotFound",
    "AmountTooLarge",
    "Conflict",
    "Currency",
    "CurrencyMismatch",
    "DomainError",
    "Event",
    "Id",
    "Instant",
    "InvalidValue",
    "Metadata",
    "Money",
    "Name",
    "NotFound",
    "Recorded",
    "Scalar",
    "Secret",
    "Text",
    "TooManyAttempts",
    "Total",
    "Unauthenticated",
    "Value",
    "uuid7",
]
