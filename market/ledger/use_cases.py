"""What the ledger does with accounts and transfers."""

from datetime import UTC, datetime, timedelta

from craton.application import AuditEvent, Page, Paging, Repository, View, now, permit, schedule, within
from craton.domain import AccessDenied, Currency, DomainError, Money, Name, Text, Total
from market.ledger import domain
from market.ledger.api import (
    AccountState,
    Entry,
    Ledger,
    Side,
    Transfer,
    TransferOrder,
    TrialBalance,
    TrialBalanceLine,
)
from market.ledger.events import (
    AccountId,
    AccountKind,
    BatchRefused,
    ExpiryWithoutHold,
    HoldOfAnOrder,
    HoldResolved,
    TransferId,
    TransferNotFound,
    TransferResult,
    TransferStatus,
)
from market.ledger.read_models import state_of

DEFAULT_CURRENCY = Currency("EUR")
END_OF_TIME = datetime(9999, 12, 31, tzinfo=UTC)


class LedgerService(Ledger):
    def __init__(
        self,
        accounts: Repository[domain.Account],
        transfers: Repository[domain.Transfer],
        account_rows: View[AccountState],
        entry_rows: View[Entry],
        transfer_rows: View[Transfer],
    ) -> None:
        self._accounts = accounts
        self._transfers = transfers
        self._account_rows = account_rows
        self._entry_rows = entry_rows
        self._transfer_rows = transfer_rows

    async def open_account(self, owner: Name, currency: Currency) -> AccountId:
        account = domain.Account.open(AccountId.new(), owner, currency, AccountKind.LIABILITY)
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
            self._transfers.add(domain.Transfer.begin_hold(hold, wallet, sales, money))

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
        hold = domain.Transfer.begin_hold(TransferId.new(), payer, payee, money, reference, expires_at)
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
            return await self._permit_owner(account)
        then = await self._accounts.get(account, at=at, version=version)
        permit(then.owner, "admin")
        return state_of(then)

    async def wallet(self, owner: Name, *, currency: Currency | None = None) -> AccountState:
        currency = currency or DEFAULT_CURRENCY
        id = AccountId.wallet(owner, currency)
        used = await self._account_rows.find(id)
        return used or state_of(domain.Account.open(id, owner, currency, AccountKind.LIABILITY))

    async def transfer_state(self, transfer: TransferId) -> Transfer:
        row = await self._transfer_rows.get(transfer)
        await self._permit_parties(row.source, row.target)
        return row

    async def entries(
        self,
        account: AccountId,
        *,
        from_: datetime | None = None,
        to: datetime | None = None,
        paging: Paging = Paging(),
    ) -> Page[Entry]:
        await self._permit_owner(account)
        return await self._entry_rows.page(account=account, time=within(from_, to), order="-number", paging=paging)

    async def events(self, account: AccountId, *, paging: Paging = Paging()) -> Page[AuditEvent]:
        await self._permit_owner(account)
        return await self._accounts.audit(account, paging)

    async def trial_balance(self, *, at: datetime | None = None) -> TrialBalance:
        sums = await self._entry_rows.sum("minor", by=("currency", "side"), time=within(None, _just_after(at)))
        currencies = sorted({Currency(currency) for currency, _ in sums})
        return TrialBalance(at=at, lines=tuple(_line(currency, sums) for currency in currencies))

    def _move(
        self, payer: domain.Account, payee: domain.Account, money: Money, reference: Text | None = None
    ) -> TransferId:
        id = TransferId.new()
        domain.move(id, payer, payee, money, reference)
        return id

    async def _try(self, order: TransferOrder) -> TransferResult:
        try:
            return TransferResult(
                id=await self.transfer(order.source, order.target, order.money, reference=order.reference)
            )
        except DomainError as refusal:
            return TransferResult(code=refusal.code, detail=str(refusal))

    async def _pair(self, source: AccountId, target: AccountId) -> tuple[domain.Account, domain.Account]:
        return await self._accounts.get(source), await self._accounts.get(target)

    async def _external(self, currency: Currency) -> domain.Account:
        return await self._opened(
            AccountId.external(currency), Name("The world outside"), currency, AccountKind.EXTERNAL
        )

    async def _sales(self, currency: Currency) -> domain.Account:
        return await self._opened(AccountId.sales(currency), Name("The market"), currency, AccountKind.INCOME)

    async def _wallet(self, owner: Name, currency: Currency) -> domain.Account:
        return await self._opened(AccountId.wallet(owner, currency), owner, currency, AccountKind.LIABILITY)

    async def _opened(self, id: AccountId, owner: Name, currency: Currency, kind: AccountKind) -> domain.Account:
        """The account with this id, which its first use opens."""
        account = await self._accounts.find(id)
        if account is None:
            account = domain.Account.open(id, owner, currency, kind)
            self._accounts.add(account)
        return account

    async def _post(self, hold: domain.Transfer, money: Money | None = None) -> None:
        hold.post(*await self._pair(hold.source, hold.target), now(), money)

    async def _own(self, account: AccountId) -> domain.Account:
        found = await self._accounts.get(account)
        permit(found.owner, "admin")
        return found

    async def _hold(self, transfer: TransferId) -> domain.Transfer:
        """A transfer that holds or has held money. Raises `HoldResolved` for one that moved its money at once."""
        hold = await self._transfers.find(transfer)
        if hold is None:
            known = await self._transfer_rows.find(transfer)
            raise TransferNotFound(id=transfer) if known is None else HoldResolved(status=known.status)
        return hold

    async def _permit_payee(self, hold: domain.Transfer) -> None:
        """Let the owner of the target account resolve the hold; the owner of the source account may not."""
        permit((await self._accounts.get(hold.target)).owner, "admin")
        if hold.target == AccountId.sales(hold.money.currency):
            raise HoldOfAnOrder()

    async def _permit_owner(self, account: AccountId) -> AccountState:
        """The account, if the caller owns it or is an administrator."""
        row = await self._account_rows.get(account)
        permit(row.owner, "admin")
        return row

    async def _permit_parties(self, source: AccountId, target: AccountId) -> None:
        """Let the owners of both accounts see a transfer."""
        try:
            await self._permit_owner(source)
        except AccessDenied:
            await self._permit_owner(target)


def _just_after(at: datetime | None) -> datetime | None:
    """The end of a range that includes the moment itself. None: the range has no end."""
    return None if at is None or at >= END_OF_TIME else at + timedelta(microseconds=1)


def _line(currency: Currency, sums: dict[tuple[str, ...], int]) -> TrialBalanceLine:
    debits, credits = (Total(sums.get((currency, side), 0), currency) for side in (Side.DEBIT, Side.CREDIT))
    return TrialBalanceLine(currency=currency, debits=debits, credits=credits, difference=credits - debits)
