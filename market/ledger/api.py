"""The ledger's contract: all that others may import of it."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from craton.application import Api, AuditEvent, Page, Paging, command, query
from craton.domain import Conflict, Currency, Instant, Money, Name, Text, Total, Value
from market.ledger.events import (
    AccountClosed,
    AccountId,
    AccountIsClosed,
    AccountKind,
    AccountNotFound,
    AccountOpened,
    AmountNotPositive,
    BalanceNotZero,
    BlankOwner,
    BlankReason,
    ExpiryWithoutHold,
    ExternalAccount,
    HoldExceeded,
    HoldExpired,
    HoldOfAnOrder,
    HoldReleased,
    HoldResolved,
    InsufficientFunds,
    MoneyCredited,
    MoneyDebited,
    MoneyHeld,
    PermanentAccount,
    SameAccount,
    TransferHeld,
    TransferId,
    TransferNotFound,
    TransferPosted,
    TransferStatus,
    TransferVoided,
)

__all__ = [
    "AccountClosed",
    "AccountId",
    "AccountIsClosed",
    "AccountKind",
    "AccountNotFound",
    "AccountOpened",
    "AccountState",
    "AmountNotPositive",
    "BalanceNotZero",
    "BatchRefused",
    "BlankOwner",
    "BlankReason",
    "Entry",
    "ExpiryWithoutHold",
    "ExternalAccount",
    "HoldExceeded",
    "HoldExpired",
    "HoldOfAnOrder",
    "HoldReleased",
    "HoldResolved",
    "InsufficientFunds",
    "Ledger",
    "MoneyCredited",
    "MoneyDebited",
    "MoneyHeld",
    "PermanentAccount",
    "SameAccount",
    "Side",
    "TransferHeld",
    "TransferId",
    "TransferNotFound",
    "TransferOrder",
    "TransferPosted",
    "TransferResult",
    "TransferState",
    "TransferStatus",
    "TransferVoided",
    "TrialBalance",
    "TrialBalanceLine",
]

Seconds = Annotated[int, Meta(ge=1, le=31_536_000)]


class Side(StrEnum):
    DEBIT = "debit"
    CREDIT = "credit"


class AccountState(Value):
    """An account as it stands, or stood, at a version."""

    id: AccountId
    owner: Name
    kind: AccountKind
    currency: Currency
    balance: Money
    held: Money
    available: Money
    total_deposits: Total
    total_withdrawals: Total
    transaction_count: int
    closed: bool
    version: int


class TransferState(Value):
    id: TransferId
    source: AccountId
    target: AccountId
    money: Money
    status: TransferStatus
    reference: Text | None
    created_at: Instant
    version: int


class Entry(Value):
    """One line of an account's statement; `balance` is what the account held after it."""

    number: int
    time: Instant
    transfer: TransferId
    side: Side
    counterparty: AccountId
    money: Money
    balance: Money
    reference: Text | None


class TrialBalanceLine(Value):
    currency: Currency
    debits: Total
    credits: Total
    difference: Total


class TrialBalance(Value):
    """Debits and credits of all accounts; every difference is zero."""

    at: Instant | None
    lines: tuple[TrialBalanceLine, ...]


class TransferOrder(Value):
    source: AccountId
    target: AccountId
    money: Money
    reference: Text | None = None


class TransferResult(Value):
    """What became of one transfer of a batch: an id, or the reason why there is none."""

    id: TransferId | None = None
    code: str | None = None
    detail: str | None = None


class BatchRefused(Conflict):
    """A transfer of the batch was refused, so none was made."""

    results: tuple[TransferResult, ...]


Batch = Annotated[tuple[TransferOrder, ...], Meta(min_length=1, max_length=100)]


class Ledger(Api):
    """Accounts and the money in them."""

    @command
    async def open_account(self, owner: Name, currency: Currency) -> AccountId:
        """Open a customer's account, empty."""

    @command
    async def close_account(self, account: AccountId, reason: Text) -> None:
        """Close an account whose balance is zero and of which nothing is held."""

    @command
    async def deposit(self, account: AccountId, money: Money) -> TransferId:
        """Take money in from outside."""

    @command
    async def withdraw(self, account: AccountId, money: Money) -> TransferId:
        """Pay money out."""

    @command
    async def transfer(
        self,
        source: AccountId,
        target: AccountId,
        money: Money,
        *,
        reference: Text | None = None,
        pending: bool = False,
        expires_in: Seconds | None = None,
    ) -> TransferId:
        """Move money, or hold it (`pending`) until it is posted or voided, or has expired after so many seconds."""

    @command
    async def transfer_batch(self, transfers: Batch, *, atomic: bool = True) -> tuple[TransferResult, ...]:
        """Make several transfers in order; if `atomic`, all or none."""

    @command
    async def post_transfer(self, transfer: TransferId, money: Money | None = None) -> None:
        """Move what was held, or less of it; the rest is available again."""

    @command
    async def void_transfer(self, transfer: TransferId) -> None:
        """Let go of what was held."""

    @command
    async def deposit_to_wallet(self, owner: Name, money: Money) -> TransferId:
        """Take money from outside into a user's own account, which is opened at first use."""

    @command
    async def withdraw_from_wallet(self, owner: Name, money: Money) -> TransferId:
        """Pay money out of a user's own account."""

    @command
    async def hold_in_wallet(self, owner: Name, money: Money, hold: TransferId) -> None:
        """Hold money for the market, as the transfer `hold`. The same hold again is the one that there is."""

    @command
    async def collect(self, hold: TransferId) -> None:
        """Move what is held to the market, unless that was done before."""

    @command
    async def return_to_wallet(self, hold: TransferId, money: Money) -> None:
        """Give a wallet back what was held or collected, or part of it."""

    @command
    async def expire_transfer(self, transfer: TransferId) -> None:
        """Void a hold whose time is over; nothing happens to one that was resolved before."""

    @query
    async def account(
        self, account: AccountId, *, at: Instant | None = None, version: int | None = None
    ) -> AccountState:
        """The account as it is, or as it was at a time or a version."""

    @query
    async def wallet(self, owner: Name, *, currency: Currency | None = None) -> AccountState:
        """A user's own account in a currency (EUR unless told); one that was never used is empty."""

    @query
    async def transfer_state(self, transfer: TransferId) -> TransferState:
        """A transfer and whether it is pending, posted or voided."""

    @query
    async def entries(
        self,
        account: AccountId,
        *,
        from_: Instant | None = None,
        to: Instant | None = None,
        paging: Paging = Paging(),
    ) -> Page[Entry]:
        """The account's statement, newest first."""

    @query
    async def events(self, account: AccountId, *, paging: Paging = Paging()) -> Page[AuditEvent]:
        """All that ever happened to the account, newest first, with who caused it."""

    @query
    async def trial_balance(self, *, at: Instant | None = None) -> TrialBalance:
        """Debits and credits per currency, now or at a time."""
