"""What the ledger does with accounts and transfers."""

from datetime import UTC, datetime, timedelta

from craton.application import AuditEvent, Page, Paging, Repository, View, now, permit, schedule, within
from craton.domain import AccessDenied, Currency, DomainError, Money, Name, Text, Total
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
from market.ledger.domain import Account, Transfer, move
from market.ledger.events import (
    AccountId,
    AccountKind,
    AccountNotFound,
    ExpiryWithoutHold,
    HoldOfAnOrder,
    HoldResolved,
    TransferId,
    TransferNotFound,
    TransferStatus,
)
from market.ledger.read_models import BalanceRow, EntryRow, TransferRow

DEFAULT_CURRENCY = Currency("EUR")
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
        (await self._own(account)).close(reason)

    async def deposit(self, account: AccountId, money: Money) -> TransferId:
        customer = await self._accounts.get(account)
        return self._move(await self._external(money.currency), customer, money)

    async def withdraw(self, account: AccountId, money: Money) -> TransferId:
        customer = await self._own(account)
        return self._move(customer, await self._external(money.currency), money)

    async def deposit_to_wallet(self, owner: Name, money: Money) -> TransferId:
        wallet = await self._wallet(owner, money.currency)
        return self._move(await self._external(money.currency), wallet, money)

    async def withdraw_from_wallet(self, owner: Name, money: Money) -> TransferId:
        wallet = await self._wallet(owner, money.currency)
        return self._move(wallet, await self._external(money.currency), money)

    async def hold_in_wallet(self, owner: Name, money: Money, hold: TransferId) -> None:
        if await self._transfers.find(hold) is None:
            wallet, sales = await self._wallet(owner, money.currency), await self._sales(money.currency)
            self._transfers.add(Transfer.begin_hold(hold, wallet, sales, money))

    async def collect(self, hold: TransferId) -> None:
        held = await self._transfers.get(hold)
        if held.status is not TransferStatus.POSTED:
            await self._post(held)

    async def return_to_wallet(self, hold: TransferId, money: Money) -> None:
        held = await self._transfers.get(hold)
        held.give_back(*await self._pair(held.source, held.target), money, now())

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
        if pending and target == AccountId.sales(money.currency):
            raise HoldOfAnOrder()
        payer, payee = await self._pair(source, target)
        permit(payer.owner, "admin")
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
        hold = await self._hold(transfer)
        await self._permit_payee(hold)
        await self._post(hold, money)

    async def void_transfer(self, transfer: TransferId) -> None:
        hold = await self._hold(transfer)
        await self._permit_payee(hold)
        hold.void(await self._accounts.get(hold.source), Text("voided"))

    async def expire_transfer(self, transfer: TransferId) -> None:
        hold = await self._transfers.get(transfer)
        if hold.pending:
            hold.void(await self._accounts.get(hold.source), Text("expired"))

    async def account(
        self, account: AccountId, *, at: datetime | None = None, version: int | None = None
    ) -> AccountState:
        if at is None and version is None:
            row = await self._balances.find(account)
            if row is None:
                raise AccountNotFound(id=account)
            permit(row.state.owner, "admin")
            return row.state
        then = await self._accounts.get(account, at=at, version=version)
        permit(then.owner, "admin")
        return _state(then)

    async def wallet(self, owner: Name, *, currency: Currency | None = None) -> AccountState:
        currency = currency or DEFAULT_CURRENCY
        id = AccountId.wallet(owner, currency)
        row = await self._balances.find(id)
        return _state(Account.open(id, owner, currency, AccountKind.LIABILITY)) if row is None else row.state

    async def transfer_state(self, transfer: TransferId) -> TransferState:
        row = await self._transfer_states.find(transfer)
        if row is None:
            raise TransferNotFound(id=transfer)
        await self._permit_parties(row.state.source, row.state.target)
        return row.state

    async def entries(
        self,
        account: AccountId,
        *,
        from_: datetime | None = None,
        to: datetime | None = None,
        paging: Paging = Paging(),
    ) -> Page[Entry]:
        await self._permit_owner(account)
        rows = await self._statement.page(account=account, time=within(from_, to), order="-number", paging=paging)
        return rows.map(lambda row: row.entry)

    async def events(self, account: AccountId, *, paging: Paging = Paging()) -> Page[AuditEvent]:
        await self._permit_owner(account)
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
        return await self._opened(
            AccountId.external(currency), Name("The world outside"), currency, AccountKind.EXTERNAL
        )

    async def _sales(self, currency: Currency) -> Account:
        return await self._opened(AccountId.sales(currency), Name("The market"), currency, AccountKind.INCOME)

    async def _wallet(self, owner: Name, currency: Currency) -> Account:
        return await self._opened(AccountId.wallet(owner, currency), owner, currency, AccountKind.LIABILITY)

    async def _opened(self, id: AccountId, owner: Name, currency: Currency, kind: AccountKind) -> Account:
        """The account with this id, opened at its first use."""
        account = await self._accounts.find(id)
        if account is None:
            account = Account.open(id, owner, currency, kind)
            self._accounts.add(account)
        return account

    async def _post(self, hold: Transfer, money: Money | None = None) -> None:
        hold.post(*await self._pair(hold.source, hold.target), now(), money)

    async def _own(self, account: AccountId) -> Account:
        found = await self._accounts.get(account)
        permit(found.owner, "admin")
        return found

    async def _hold(self, transfer: TransferId) -> Transfer:
        """A transfer that was pending when it began; any other was posted at once."""
        hold = await self._transfers.find(transfer)
        if hold is None:
            known = await self._transfer_states.find(transfer)
            raise TransferNotFound(id=transfer) if known is None else HoldResolved(status=known.state.status)
        return hold

    async def _permit_payee(self, hold: Transfer) -> None:
        """Who holds money of another's may take it or let it go; the other may not."""
        permit((await self._accounts.get(hold.target)).owner, "admin")
        if hold.target == AccountId.sales(hold.money.currency):
            raise HoldOfAnOrder()

    async def _permit_owner(self, account: AccountId) -> None:
        row = await self._balances.find(account)
        if row is None:
            raise AccountNotFound(id=account)
        permit(row.state.owner, "admin")

    async def _permit_parties(self, source: AccountId, target: AccountId) -> None:
        """Either side may look at a transfer."""
        try:
            await self._permit_owner(source)
        except AccessDenied:
            await self._permit_owner(target)


def _just_after(at: datetime | None) -> datetime | None:
    """The end of a range that is to include the moment itself."""
    return None if at is None or at >= END_OF_TIME else at + timedelta(microseconds=1)


def _line(currency: Currency, sums: dict[tuple[str, ...], int]) -> TrialBalanceLine:
    debits, credits = (Total(sums.get((currency, side), 0), currency) for side in (Side.DEBIT, Side.CREDIT))
    return TrialBalanceLine(currency=currency, debits=debits, credits=credits, difference=credits - debits)


def _state(account: Account) -> AccountState:
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
