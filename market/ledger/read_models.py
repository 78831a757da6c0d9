"""What the ledger shows: balances, statements, transfers. All can be thrown away and rebuilt from events."""

from datetime import datetime

from msgspec.structs import replace

from craton.application import Column, Index, Key, Projection, Row, Rows
from craton.domain import Currency, Money, Recorded, Total
from market.ledger.api import AccountState, Entry, Side, TransferState
from market.ledger.events import (
    AccountClosed,
    AccountId,
    AccountOpened,
    HoldReleased,
    MoneyCredited,
    MoneyDebited,
    MoneyHeld,
    TransferHeld,
    TransferId,
    TransferPosted,
    TransferStatus,
    TransferVoided,
)


class BalanceRow(Row):
    account: Key[AccountId]
    state: AccountState


class Balances(Projection):
    """The current state of each account."""

    version = 2
    accounts: Rows[BalanceRow]

    def project(
        self,
        event: Recorded[AccountOpened | MoneyDebited | MoneyCredited | MoneyHeld | HoldReleased | AccountClosed],
    ) -> None:
        account = AccountId(event.subject)
        match event.data:
            case AccountOpened() as opened:
                self.accounts.put(BalanceRow(account=account, state=_opened(account, opened)))
            case fact:
                self.accounts.fold(account, by=lambda row: replace(row, state=_after(row.state, fact, event.version)))


def _opened(account: AccountId, fact: AccountOpened) -> AccountState:
    zero, none = Money.zero(fact.currency), Total.zero(fact.currency)
    return AccountState(
        id=account,
        owner=fact.owner,
        kind=fact.kind,
        currency=fact.currency,
        balance=zero,
        held=zero,
        available=zero,
        total_deposits=none,
        total_withdrawals=none,
        transaction_count=0,
        closed=False,
        version=1,
    )


def _after(
    state: AccountState,
    fact: MoneyDebited | MoneyCredited | MoneyHeld | HoldReleased | AccountClosed,
    version: int,
) -> AccountState:
    balance, held = state.balance, state.held
    deposits, withdrawals, count = state.total_deposits, state.total_withdrawals, state.transaction_count
    match fact:
        case MoneyDebited(money=money):
            balance, withdrawals, count = balance - money, withdrawals + money, count + 1
        case MoneyCredited(money=money):
            balance, deposits, count = balance + money, deposits + money, count + 1
        case MoneyHeld(money=money):
            held += money
        case HoldReleased(money=money):
            held -= money
    return replace(
        state,
        balance=balance,
        held=held,
        available=balance - held,
        total_deposits=deposits,
        total_withdrawals=withdrawals,
        transaction_count=count,
        closed=isinstance(fact, AccountClosed),
        version=version,
    )


class EntryRow(Row):
    account: Key[AccountId]
    number: Key[int]
    time: Index[datetime]
    currency: Column[Currency]
    side: Column[Side]
    minor: Column[int]
    entry: Entry


class Statement(Projection):
    """Every debit and credit, with the balance after it."""

    version = 1
    entries: Rows[EntryRow]

    def project(self, event: Recorded[MoneyDebited | MoneyCredited]) -> None:
        fact = event.data
        side = Side.DEBIT if isinstance(fact, MoneyDebited) else Side.CREDIT
        entry = Entry(
            number=event.version,
            time=event.time,
            transfer=fact.transfer,
            side=side,
            counterparty=fact.counterparty,
            money=fact.money,
            balance=fact.balance,
            reference=fact.reference,
        )
        self.entries.put(
            EntryRow(
                account=AccountId(event.subject),
                number=entry.number,
                time=entry.time,
                currency=fact.money.currency,
                side=side,
                minor=fact.money.minor,
                entry=entry,
            )
        )


class TransferRow(Row):
    transfer: Key[TransferId]
    state: TransferState


class Transfers(Projection):
    """Each transfer, held first or made at once, and what became of it."""

    version = 1
    transfers: Rows[TransferRow]

    def project(self, event: Recorded[MoneyDebited | TransferHeld | TransferPosted | TransferVoided]) -> None:
        match event.data:
            case MoneyDebited() as fact:
                # The debit of a hold finds its row here; TransferPosted says the rest.
                self.transfers.put_new(
                    TransferRow(
                        transfer=fact.transfer,
                        state=TransferState(
                            id=fact.transfer,
                            source=AccountId(event.subject),
                            target=fact.counterparty,
                            money=fact.money,
                            status=TransferStatus.POSTED,
                            reference=fact.reference,
                            created_at=event.time,
                            version=1,
                        ),
                    )
                )
            case TransferHeld() as fact:
                id = TransferId(event.subject)
                self.transfers.put(
                    TransferRow(
                        transfer=id,
                        state=TransferState(
                            id=id,
                            source=fact.source,
                            target=fact.target,
                            money=fact.money,
                            status=TransferStatus.PENDING,
                            reference=fact.reference,
                            created_at=event.time,
                            version=1,
                        ),
                    )
                )
            case TransferPosted(money=money):
                self._resolve(event.subject, status=TransferStatus.POSTED, money=money, version=event.version)
            case TransferVoided():
                self._resolve(event.subject, status=TransferStatus.VOIDED, version=event.version)

    def _resolve(self, transfer: str, **changes: object) -> None:
        self.transfers.fold(TransferId(transfer), by=lambda row: replace(row, state=replace(row.state, **changes)))
