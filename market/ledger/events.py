"""What the ledger tells: ids, values, events and refusals. Others may import it."""

from datetime import datetime
from enum import StrEnum
from typing import Self

from craton.domain import (
    AggregateNotFound,
    Conflict,
    Currency,
    Event,
    Id,
    InvalidValue,
    Money,
    Name,
    Text,
    Value,
)


class AccountId(Id):
    namespace = "craton:market:ledger"

    @classmethod
    def external(cls, currency: Currency) -> Self:
        """The account that stands for the world outside. Deposits come from it, and withdrawals go to it."""
        return cls.derived("external", currency)

    @classmethod
    def wallet(cls, owner: Name, currency: Currency) -> Self:
        """A user's own account in a currency."""
        return cls.derived("wallet", owner, currency)

    @classmethod
    def sales(cls, currency: Currency) -> Self:
        """The market's own account in a currency. Orders that are paid from a wallet pay into it."""
        return cls.derived("sales", currency)


class TransferId(Id):
    pass


class AccountKind(StrEnum):
    ASSET = "asset"
    LIABILITY = "liability"  # a customer's account: the market owes the customer its balance
    INCOME = "income"
    EXPENSE = "expense"
    EXTERNAL = "external"  # stands for the world outside


class TransferStatus(StrEnum):
    PENDING = "pending"
    POSTED = "posted"
    VOIDED = "voided"


class TransferResult(Value):
    """What became of one transfer of a batch: its id, or the code and the sentence of its refusal."""

    id: TransferId | None = None
    code: str | None = None
    detail: str | None = None


# --- facts ---------------------------------------------------------------------------------------------------


class AccountOpened(Event):
    owner: Name
    currency: Currency
    kind: AccountKind


class MoneyDebited(Event):
    transfer: TransferId
    counterparty: AccountId
    money: Money
    balance: Money
    reference: Text | None = None


class MoneyCredited(Event):
    transfer: TransferId
    counterparty: AccountId
    money: Money
    balance: Money
    reference: Text | None = None


class MoneyHeld(Event):
    transfer: TransferId
    money: Money


class HoldReleased(Event):
    transfer: TransferId
    money: Money


class AccountClosed(Event):
    reason: Text


class TransferHeld(Event):
    source: AccountId
    target: AccountId
    money: Money
    reference: Text | None = None
    expires_at: datetime | None = None


class TransferPosted(Event):
    money: Money


class TransferReturned(Event):
    """Part or all of the money that was posted has gone back to its source."""

    money: Money


class TransferVoided(Event):
    reason: Text


# --- refusals ------------------------------------------------------------------------------------------------


class BlankOwner(InvalidValue):
    """An account needs an owner."""


class BlankReason(InvalidValue):
    """Closing an account needs a reason."""


class AmountNotPositive(InvalidValue):
    """An amount must be more than zero."""


class SameAccount(InvalidValue):
    """Money can't be moved from an account to itself."""

    account: AccountId


class ExpiryWithoutHold(InvalidValue):
    """Only a pending transfer can expire."""


class AccountNotFound(AggregateNotFound):
    """There is no such account."""


class TransferNotFound(AggregateNotFound):
    """There is no such pending transfer."""


class AccountIsClosed(Conflict):
    """The account is closed."""

    account: AccountId


class BalanceNotZero(Conflict):
    """Only an empty account can be closed."""

    balance: Money
    held: Money


class InsufficientFunds(Conflict):
    """The account doesn't have that much available."""

    account: AccountId
    available: Money


class HoldResolved(Conflict):
    """The transfer was already posted or voided."""

    status: TransferStatus


class HoldExpired(Conflict):
    """The transfer has expired."""


class ExternalAccount(Conflict):
    """The account that stands for the world outside can't be closed."""


class PermanentAccount(Conflict):
    """Wallets and the market's own accounts can't be closed, because money may come back to them at any time."""


class HoldOfAnOrder(Conflict):
    """Only an order can hold money for the market, and only that order can post or void the hold."""


class HoldExceeded(Conflict):
    """The amount is larger than what was held."""

    held: Money


class BatchRefused(Conflict):
    """A transfer of the batch was refused, so none was made."""

    results: tuple[TransferResult, ...]
