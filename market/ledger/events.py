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
)


class AccountId(Id):
    namespace = "craton:market:ledger"

    @classmethod
    def external(cls, currency: Currency) -> Self:
        """The account that stands for the world outside: deposits come from it, withdrawals go to it."""
        return cls.derived("external", currency)

    @classmethod
    def wallet(cls, owner: Name, currency: Currency) -> Self:
        """Each user's own account in a currency."""
        return cls.derived("wallet", owner, currency)

    @classmethod
    def sales(cls, currency: Currency) -> Self:
        """The market's own account, into which wallets pay."""
        return cls.derived("sales", currency)


class TransferId(Id):
    pass


class AccountKind(StrEnum):
    ASSET = "asset"
    LIABILITY = "liability"  # what the market owes its customers: their accounts
    INCOME = "income"
    EXPENSE = "expense"
    EXTERNAL = "external"


class TransferStatus(StrEnum):
    PENDING = "pending"
    POSTED = "posted"
    VOIDED = "voided"


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
    """Of what was posted, so much has gone back."""

    money: Money


class TransferVoided(Event):
    reason: Text


# --- refusals ------------------------------------------------------------------------------------------------


class BlankOwner(InvalidValue):
    """An account needs an owner."""


class BlankReason(InvalidValue):
    """An account is closed for a reason."""


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
    """The hold was posted or voided before."""

    status: TransferStatus


class HoldExpired(Conflict):
    """The time of the hold is over."""


class ExternalAccount(Conflict):
    """The account that stands for the world outside can't be closed."""


class PermanentAccount(Conflict):
    """Wallets and the market's own accounts stay open: money may come back to them at any time."""


class HoldOfAnOrder(Conflict):
    """What is held for the market is taken or returned by the order that it is for."""


class HoldExceeded(Conflict):
    """No more can be posted than was held."""

    held: Money
