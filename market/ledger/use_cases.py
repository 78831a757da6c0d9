"""What the ledger does with accounts and transfers."""

from datetime import UTC, datetime, timedelta

from craton.application import AuditEvent, Page, Paging, Repository, View, now, schedule, within
from craton.domain import Currency, DomainError, Money, Name, Text, Total
from market.ledger.api import (
    AccountState,
    BatchRefused,
    Entry,
    Ledger,
    Side,
    TransferOrder,
    TransferResult,
    TransferState,
    TrialBalance,
    TrialBalanceLine,
)
from market.ledger.domain import (
    Account,
    AccountId,
    AccountKind,
    AccountNotFound,
    ExpiryWithoutHold,
    Transfer,
    TransferId,
    TransferNotFound,
    move,
)
from market.ledger.read_models import BalanceRow, EntryRow, TransferRow

END_OF_TIME = datetime(9999, 12, 31, tzinfo=UTC)


class LedgerService(Ledger):
    def __init__(
        self,
        accounts: Repository[Account],
        transfers: Repository[Transfer],
        balances: View[BalanceRow],
        statement: View[EntryRow],
        transfer_states: View[TransferRow],
    ) -> None:
        self._accounts = accounts
        self._transfers = transfers
        self._balances = balances
        self._statement = statement
        self._transfer_states = transfer_states

    async def open_account(self, owner: Name, currency: Currency) -> AccountId:
        account = Account.open(AccountId.new(), owner, currency, AccountKind.LIABILITY)
        self._accounts.add(account)
        return account.id

    async def close_account(self, account: AccountId, reason: Text) -> None:
        (await self._accounts.get(account)).close(reason)

    async def deposit(self, account: AccountId, money: Money) -> TransferId:
        customer = await self._accounts.get(account)
        return self._move(await self._external(money.currency), customer, money)

    async def withdraw(self, account: AccountId, money: Money) -> TransferId:
        customer = await self._accounts.get(account)
        return self._move(customer, await self._external(money.currency), money)

    async def transfer(
        self,
        source: AccountId,
        target: AccountId,
        money: Money,
        *,
        reference: Text | None = None,
        pending: bool = False,
        expires_in: int | None = None,
    ) -> TransferId:
        if expires_in is not None and not pending:
            raise ExpiryWithoutHold()
        payer, payee = await self._pair(source, target)
        if not pending:
            return self._move(payer, payee, money, reference)
        expires_at = None if expires_in is None else now() + timedelta(seconds=expires_in)
        hold = Transfer.begin_hold(TransferId.new(), payer, payee, money, reference, expires_at)
        self._transfers.add(hold)
        if expires_at is not None:
            schedule(expires_at, Ledger.expire_transfer, transfer=hold.id)
        return hold.id

    async def transfer_batch(
        self, transfers: tuple[TransferOrder, ...], *, atomic: bool = True
    ) -> tuple[TransferResult, ...]:
        results = [await self._try(order) for order in transfers]
        if atomic and any(result.code for result in results):
            raise BatchRefused(results=tuple(result if result.code else TransferResult() for result in results))
        return tuple(results)

    async def post_transfer(self, transfer: TransferId, money: Money | None = None) -> None:
        hold = await self._transfers.get(transfer)
        payer, payee = await self._accounts.get(hold.source), await self._accounts.get(hold.target)
        hold.post(payer, payee, now(), money)

    async def void_transfer(self, transfer: TransferId) -> None:
        hold = await self._transfers.get(transfer)
        hold.void(await self._accounts.get(hold.source), Text("voided"))

    async def expire_transfer(self, transfer: TransferId) -> None:
        hold = await self._transfers.get(transfer)
        if hold.pending:
            hold.void(await self._accounts.get(hold.source), Text("expired"))

    async def account(
        self, account: AccountId, *, at: datetime | None = None, version: int | None = None
    ) -> AccountState:
        if at is None and version is None:
            row = await self._balances.get(account)
            if row is None:
                raise AccountNotFound(id=account)
            return row.state
        then = await self._accounts.get(account, at=at, version=version)
        return AccountState(
            id=then.id,
            owner=then.owner,
            kind=then.kind,
            currency=then.currency,
            balance=then.balance,
            held=then.held,
            available=then.available,
            total_deposits=then.total_deposits,
            total_withdrawals=then.total_withdrawals,
            transaction_count=then.transaction_count,
            closed=then.closed,
            version=then.version,
        )

    async def transfer_state(self, transfer: TransferId) -> TransferState:
        row = await self._transfer_states.get(transfer)
        if row is None:
            raise TransferNotFound(id=transfer)
        return row.state

    async def entries(
        self,
        account: AccountId,
        *,
        from_: datetime | None = None,
        to: datetime | None = None,
        paging: Paging = Paging(),
    ) -> Page[Entry]:
        await self._require_known(account)
        rows = await self._statement.find(account=account, time=within(from_, to), order="-number", paging=paging)
        return rows.map(lambda row: row.entry)

    async def events(self, account: AccountId, *, paging: Paging = Paging()) -> Page[AuditEvent]:
        return await self._accounts.audit(account, paging)

    async def trial_balance(self, *, at: datetime | None = None) -> TrialBalance:
        sums = await self._statement.sum("minor", by=("currency", "side"), time=within(None, _just_after(at)))
        currencies = sorted({Currency(currency) for currency, _ in sums})
        return TrialBalance(at=at, lines=tuple(_line(currency, sums) for currency in currencies))

    def _move(self, payer: Account, payee: Account, money: Money, reference: Text | None = None) -> TransferId:
        id = TransferId.new()
        move(id, payer, payee, money, reference)
        return id

    async def _try(self, order: TransferOrder) -> TransferResult:
        try:
            return TransferResult(
                id=await self.transfer(order.source, order.target, order.money, reference=order.reference)
            )
        except DomainError as refusal:
            return TransferResult(code=refusal.code, detail=str(refusal))

    async def _pair(self, source: AccountId, target: AccountId) -> tuple[Account, Account]:
        return await self._accounts.get(source), await self._accounts.get(target)

    async def _external(self, currency: Currency) -> Account:
        id = AccountId.external(currency)
        account = await self._accounts.find(id)
        if account is None:
            account = Account.open(id, Name("The world outside"), currency, AccountKind.EXTERNAL)
            self._accounts.add(account)
        return account

    async def _require_known(self, account: AccountId) -> None:
        if await self._balances.get(account) is None:
            raise AccountNotFound(id=account)


def _just_after(at: datetime | None) -> datetime | None:
    """The end of a range that is to include the moment itself."""
    return None if at is None or at >= END_OF_TIME else at + timedelta(microseconds=1)


def _line(currency: Currency, sums: dict[tuple[str, ...], int]) -> TrialBalanceLine:
    debits, credits = (Total(sums.get((currency, side), 0), currency) for side in (Side.DEBIT, Side.CREDIT))
    return TrialBalanceLine(currency=currency, debits=debits, credits=credits, difference=credits - debits)
