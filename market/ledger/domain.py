"""Accounts and transfers: their state, their rules, and the events that change them.

Every movement debits one account and credits another by the same amount, so all balances of a currency add up to
zero. An account's balance is its credits less its debits. Money that is held is still in the balance, but it isn't
available.
"""

from datetime import datetime
from typing import Self

from craton.domain import (
    Aggregate,
    Currency,
    CurrencyMismatch,
    Money,
    Name,
    Text,
    Total,
)
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
    ExternalAccount,
    HoldExceeded,
    HoldExpired,
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
    TransferReturned,
    TransferStatus,
    TransferVoided,
)


class Account(Aggregate[AccountId]):
    not_found = AccountNotFound

    owner: Name
    kind: AccountKind
    balance: Money
    held: Money
    total_deposits: Total
    total_withdrawals: Total
    transaction_count: int = 0
    closed: bool = False

    @classmethod
    def open(cls, id: AccountId, owner: Name, currency: Currency, kind: AccountKind) -> Self:
        if not owner:
            raise BlankOwner()
        return cls.begin(id, AccountOpened(owner=owner, currency=currency, kind=kind))

    @property
    def currency(self) -> Currency:
        return self.balance.currency

    @property
    def available(self) -> Money:
        return self.balance - self.held

    def require_open(self) -> None:
        if self.closed:
            raise AccountIsClosed(account=self.id)

    def require_available(self, money: Money) -> None:
        """Raise `InsufficientFunds` for a customer's account. The balances of all other accounts may be negative."""
        if self.kind is AccountKind.LIABILITY and money > self.available:
            raise InsufficientFunds(account=self.id, available=self.available)

    def debit(self, transfer: TransferId, to: AccountId, money: Money, reference: Text | None) -> None:
        self.record(
            MoneyDebited(
                transfer=transfer,
                counterparty=to,
                money=money,
                balance=self.balance - money,
                reference=reference,
            )
        )

    def credit(self, transfer: TransferId, of: AccountId, money: Money, reference: Text | None) -> None:
        self.record(
            MoneyCredited(
                transfer=transfer,
                counterparty=of,
                money=money,
                balance=self.balance + money,
                reference=reference,
            )
        )

    def hold(self, transfer: TransferId, money: Money) -> None:
        _ = self.available - money  # raises `AmountTooLarge` if callers couldn't be shown what is available
        self.record(MoneyHeld(transfer=transfer, money=money))

    def release(self, transfer: TransferId, money: Money) -> None:
        self.record(HoldReleased(transfer=transfer, money=money))

    def close(self, reason: Text) -> None:
        if not reason:
            raise BlankReason()
        self.require_open()
        if self.kind is AccountKind.EXTERNAL:
            raise ExternalAccount()
        if self.kind is not AccountKind.LIABILITY or self.id == AccountId.wallet(self.owner, self.currency):
            raise PermanentAccount()
        if self.balance or self.held:
            raise BalanceNotZero(balance=self.balance, held=self.held)
        self.record(AccountClosed(reason=reason))

    def apply(
        self, event: AccountOpened | MoneyDebited | MoneyCredited | MoneyHeld | HoldReleased | AccountClosed
    ) -> None:
        match event:
            case MoneyDebited(money=money, balance=balance):
                self.balance = balance
                self.total_withdrawals += money
                self.transaction_count += 1
            case MoneyCredited(money=money, balance=balance):
                self.balance = balance
                self.total_deposits += money
                self.transaction_count += 1
            case MoneyHeld(money=money):
                self.held += money
            case HoldReleased(money=money):
                self.held -= money
            case AccountOpened(owner=owner, currency=currency, kind=kind):
                self.owner, self.kind = owner, kind
                self.balance = self.held = Money.zero(currency)
                self.total_deposits = self.total_withdrawals = Total.zero(currency)
            case AccountClosed():
                self.closed = True


class Transfer(Aggregate[TransferId]):
    """A transfer whose money is held until the transfer is posted or voided. Either can happen once."""

    not_found = TransferNotFound

    source: AccountId
    target: AccountId
    money: Money
    reference: Text | None
    expires_at: datetime | None
    status: TransferStatus
    left: Money
    """The amount that is held, or the part of the posted amount that hasn't gone back to the source."""

    @classmethod
    def begin_hold(
        cls,
        id: TransferId,
        payer: Account,
        payee: Account,
        money: Money,
        reference: Text | None = None,
        expires_at: datetime | None = None,
    ) -> Self:
        _require_movable(payer, payee, money)
        payer.hold(id, money)
        return cls.begin(
            id,
            TransferHeld(source=payer.id, target=payee.id, money=money, reference=reference, expires_at=expires_at),
        )

    def post(self, payer: Account, payee: Account, now: datetime, money: Money | None = None) -> None:
        """Move the money that is held, or a part of it. The rest becomes available again."""
        self._require_pending()
        if self.expires_at is not None and now >= self.expires_at:
            raise HoldExpired()
        money = self.money if money is None else money
        if not money.positive:
            raise AmountNotPositive()
        if money > self.money:
            raise HoldExceeded(held=self.money)
        payee.require_open()
        _require_bounds(payer, payee, money)
        payer.release(self.id, self.money)
        payer.debit(self.id, payee.id, money, self.reference)
        payee.credit(self.id, payer.id, money, self.reference)
        self.record(TransferPosted(money=money))

    def give_back(self, payer: Account, payee: Account, money: Money, now: datetime) -> None:
        """Give money back to the payer, whether it is still held or was posted."""
        if self.status is TransferStatus.VOIDED:
            return
        if money > self.left:
            raise HoldExceeded(held=self.left)
        if self.pending and money == self.money:
            self.void(payer, Text("returned"))
            return
        if self.pending:
            self.post(payer, payee, now)
        move(TransferId.new(), payee, payer, money)
        self.record(TransferReturned(money=money))

    def void(self, payer: Account, reason: Text) -> None:
        self._require_pending()
        payer.release(self.id, self.money)
        self.record(TransferVoided(reason=reason))

    @property
    def pending(self) -> bool:
        return self.status is TransferStatus.PENDING

    def _require_pending(self) -> None:
        if not self.pending:
            raise HoldResolved(status=self.status)

    def apply(self, event: TransferHeld | TransferPosted | TransferReturned | TransferVoided) -> None:
        match event:
            case TransferHeld(source=source, target=target, money=money, reference=reference, expires_at=expires_at):
                self.source, self.target, self.money = source, target, money
                self.left = money
                self.reference, self.expires_at = reference, expires_at
                self.status = TransferStatus.PENDING
            case TransferPosted(money=money):
                self.status, self.left = TransferStatus.POSTED, money
            case TransferReturned(money=money):
                self.left -= money
            case TransferVoided():
                self.status = TransferStatus.VOIDED


def move(id: TransferId, payer: Account, payee: Account, money: Money, reference: Text | None = None) -> None:
    """Debit the payer and credit the payee. All rules are checked before either account changes."""
    _require_movable(payer, payee, money)
    _require_bounds(payer, payee, money)
    payer.debit(id, payee.id, money, reference)
    payee.credit(id, payer.id, money, reference)


def _require_movable(payer: Account, payee: Account, money: Money) -> None:
    if payer.id == payee.id:
        raise SameAccount(account=payer.id)
    if not money.positive:
        raise AmountNotPositive()
    payer.require_open()
    payee.require_open()
    for account in (payer, payee):
        if account.currency != money.currency:
            raise CurrencyMismatch(left=account.currency, right=money.currency)
    payer.require_available(money)


def _require_bounds(payer: Account, payee: Account, money: Money) -> None:
    """Raise `AmountTooLarge` if one of the new balances would be too large, before either account changes."""
    _ = payer.balance - money, payee.balance + money
