"""The ledger's front door. Others may import it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from craton.application import Api, AuditEvent, Column, Hidden, Index, Key, Page, Paging, Row, command, query
from craton.domain import Currency, Instant, Money, Name, Text, Total, Value
from market.ledger.events import (
    AccountId,
    AccountKind,
    AccountNotFound,
    TransferId,
    TransferNotFound,
    TransferResult,
    TransferStatus,
)


class Ledger(Api):
    """Accounts and the money in them."""

    @command
    async def open_account(self, owner: Name, currency: Currency) -> AccountId:
        """Open an empty account for a customer."""

    @command
    async def close_account(self, account: AccountId, reason: Text) -> None:
        """Close an account. Its balance must be zero, and no money in it may be held."""

    @command
    async def deposit(self, account: AccountId, money: Money) -> TransferId:
        """Move money from outside into an account."""

    @command
    async def withdraw(self, account: AccountId, money: Money) -> TransferId:
        """Pay money out of an account."""

    @command
    async def transfer(
        self,
        source: AccountId,
        target: AccountId,
        money: Money,
        *,
        reference: Text | None = None,
        pending: bool = False,
        expires_in: HoldSeconds | None = None,
    ) -> TransferId:
        """Move money from one account to another. With `pending`, only hold it.

        What is held stays in the source account until the transfer is posted or voided. With `expires_in`, it is voided
        by itself after that many seconds.
        """

    @command
    async def transfer_batch(self, transfers: Batch, *, atomic: bool = True) -> tuple[TransferResult, ...]:
        """Make several transfers in their order. With `atomic`, either all of them are made or none."""

    @command
    async def post_transfer(self, transfer: TransferId, money: Money | None = None) -> None:
        """Move the money that a pending transfer holds, or a part of it. The rest becomes available again."""

    @command
    async def void_transfer(self, transfer: TransferId) -> None:
        """Make the money that a pending transfer holds available again."""

    @command
    async def deposit_to_wallet(self, owner: Name, money: Money) -> TransferId:
        """Move money from outside into a user's wallet. The first use of a wallet opens it."""

    @command
    async def withdraw_from_wallet(self, owner: Name, money: Money) -> TransferId:
        """Pay money out of a user's wallet."""

    @command
    async def hold_in_wallet(self, owner: Name, money: Money, hold: TransferId) -> None:
        """Hold money in a wallet for the market, as the transfer `hold`. Does nothing if that transfer exists."""

    @command
    async def collect(self, hold: TransferId) -> None:
        """Move the money that is held in a wallet to the market. Does nothing if that was done before."""

    @command
    async def return_to_wallet(self, hold: TransferId, money: Money) -> None:
        """Give a wallet back the money that was held or collected, or a part of it."""

    @command
    async def expire_transfer(self, transfer: TransferId) -> None:
        """Void a transfer that has been pending for too long. Does nothing if it was posted or voided before."""

    @query
    async def account(
        self, account: AccountId, *, at: Instant | None = None, version: int | None = None
    ) -> AccountState:
        """An account as it is now, or as it was at a time or at a version."""

    @query
    async def wallet(self, owner: Name, *, currency: Currency | None = None) -> AccountState:
        """A user's wallet in a currency, which is EUR by default. A wallet that was never used is empty."""

    @query
    async def transfer_state(self, transfer: TransferId) -> Transfer:
        """A transfer, with its status: pending, posted or voided."""

    @query
    async def entries(
        self,
        account: AccountId,
        *,
        from_: Instant | None = None,
        to: Instant | None = None,
        paging: Paging = Paging(),
    ) -> Page[Entry]:
        """The account's statement, newest entries first."""

    @query
    async def events(self, account: AccountId, *, paging: Paging = Paging()) -> Page[AuditEvent]:
        """All events of the account, newest first, each with the caller that caused it."""

    @query
    async def trial_balance(self, *, at: Instant | None = None) -> TrialBalance:
        """The debits and credits of each currency, now or at a time."""


MAX_HOLD_SECONDS = 31_536_000
MAX_BATCH_TRANSFERS = 100

HoldSeconds = Annotated[int, Meta(ge=1, le=MAX_HOLD_SECONDS)]


class AccountState(Row):
    """An account as it is now, or as it was at a time or at a version."""

    not_found = AccountNotFound

    id: Key[AccountId]
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


class Transfer(Row):
    not_found = TransferNotFound

    id: Key[TransferId]
    source: AccountId
    target: AccountId
    money: Money
    status: TransferStatus
    reference: Text | None
    created_at: Instant
    version: int


class Side(StrEnum):
    DEBIT = "debit"
    CREDIT = "credit"


class Entry(Row):
    """One line of an account's statement. `balance` is the account's balance after it."""

    account: Hidden[Key[AccountId]]
    number: Key[int]
    time: Index[Instant]
    transfer: TransferId
    side: Column[Side]
    counterparty: AccountId
    money: Money
    balance: Money
    reference: Text | None
    currency: Hidden[Column[Currency]]
    minor: Hidden[Column[int]]


class TrialBalanceLine(Value):
    currency: Currency
    debits: Total
    credits: Total
    difference: Total


class TrialBalance(Value):
    """The debits and credits of all accounts. Every difference is zero."""

    at: Instant | None
    lines: tuple[TrialBalanceLine, ...]


class TransferOrder(Value):
    """A transfer that a batch asks for."""

    source: AccountId
    target: AccountId
    money: Money
    reference: Text | None = None


Batch = Annotated[tuple[TransferOrder, ...], Meta(min_length=1, max_length=MAX_BATCH_TRANSFERS)]
