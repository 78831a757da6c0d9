"""What the ledger shows: accounts, statements and transfers."""

from craton.application import Projection, Rows
from craton.domain import Event, Recorded
from market.ledger.api import AccountState, Entry, Side, Transfer
from market.ledger.domain import Account
from market.ledger.events import (
    AccountId,
    MoneyCredited,
    MoneyDebited,
    TransferHeld,
    TransferId,
    TransferPosted,
    TransferStatus,
    TransferVoided,
)


class Balances(Projection):
    """The current state of each account."""

    version = 3

    def row(self, account: Account, event: Recorded[Event]) -> AccountState:
        return state_of(account)


def state_of(account: Account) -> AccountState:
    """An account as callers see it."""
    return AccountState(
        id=account.id,
        owner=account.owner,
        kind=account.kind,
        currency=account.currency,
        balance=account.balance,
        held=account.held,
        available=account.available,
        total_deposits=account.total_deposits,
        total_withdrawals=account.total_withdrawals,
        transaction_count=account.transaction_count,
        closed=account.closed,
        version=account.version,
    )


class Statement(Projection):
    """Every debit and credit, with the balance after it."""

    version = 2
    entries: Rows[Entry]

    def project(self, event: Recorded[MoneyDebited | MoneyCredited]) -> None:
        fact = event.data
        self.entries.put(
            Entry(
                account=AccountId(event.subject),
                number=event.version,
                time=event.time,
                transfer=fact.transfer,
                side=Side.DEBIT if isinstance(fact, MoneyDebited) else Side.CREDIT,
                counterparty=fact.counterparty,
                money=fact.money,
                balance=fact.balance,
                reference=fact.reference,
                currency=fact.money.currency,
                minor=fact.money.minor,
            )
        )


class Transfers(Projection):
    """Each transfer with its status, whether its money was held first or moved at once.

    A transfer that moves money at once has no aggregate: its debit is all that is recorded of it.
    """

    version = 2
    transfers: Rows[Transfer]

    def project(self, event: Recorded[MoneyDebited | TransferHeld | TransferPosted | TransferVoided]) -> None:
        match event.data:
            case MoneyDebited() as fact:
                transfer = Transfer(
                    id=fact.transfer,
                    source=AccountId(event.subject),
                    target=fact.counterparty,
                    money=fact.money,
                    status=TransferStatus.POSTED,
                    reference=fact.reference,
                    created_at=event.time,
                    version=1,
                )
                self.transfers.put_new(transfer)  # a transfer that was held has its row already
            case TransferHeld() as fact:
                transfer = Transfer(
                    id=TransferId(event.subject),
                    source=fact.source,
                    target=fact.target,
                    money=fact.money,
                    status=TransferStatus.PENDING,
                    reference=fact.reference,
                    created_at=event.time,
                    version=1,
                )
                self.transfers.put(transfer)
            case TransferPosted(money=money):
                posted = TransferStatus.POSTED
                self.transfers.change(TransferId(event.subject), status=posted, money=money, version=event.version)
            case TransferVoided():
                voided = TransferStatus.VOIDED
                self.transfers.change(TransferId(event.subject), status=voided, version=event.version)
