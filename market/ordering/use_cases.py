"""What ordering does with orders."""

from datetime import datetime

from craton.application import Page, Paging, Repository, Sagas, View, narrow, permit, within
from craton.domain import Id, Name, Text
from market.catalog.api import Catalog
from market.catalog.events import ProductId
from market.identity.api import Identity
from market.identity.events import UserId
from market.ordering import domain
from market.ordering.api import Item, Order, Ordering, PlacedOrder, ShownLine
from market.ordering.events import (
    OrderId,
    OrderLine,
    OrderOverLimit,
    OrderStatus,
    PayWith,
    ProductNotOnSale,
    TooManyWaiting,
    UnknownBuyer,
)
from market.ordering.read_models import BuyerRow, OrderRow, ProductRow
from market.ordering.sagas import Checkout
from market.payments.api import Payments


class OrderingService(Ordering):
    def __init__(
        self,
        orders: Repository[domain.Order],
        waiting: Repository[domain.WaitingOrders],
        buyers: Repository[domain.Buyer],
        products: Repository[domain.Product],
        checkouts: Sagas[Checkout],
        order_rows: View[OrderRow],
        buyer_rows: View[BuyerRow],
        product_rows: View[ProductRow],
        catalog: Catalog,
        identity: Identity,
        payments: Payments,
    ) -> None:
        self._orders = orders
        self._waiting = waiting
        self._buyers = buyers
        self._products = products
        self._checkouts = checkouts
        self._order_rows = order_rows
        self._buyer_rows = buyer_rows
        self._product_rows = product_rows
        self._catalog = catalog
        self._identity = identity
        self._payments = payments

    async def place(
        self, buyer: Id, lines: tuple[Item, ...], pay_with: PayWith, payment_method: Name | None = None
    ) -> PlacedOrder:
        await self._require_user(buyer)
        order = domain.Order.place(OrderId.new(), buyer, await self._priced(lines))
        limit = await self._payments.limit(order.total.currency)
        if order.total > limit:
            raise OrderOverLimit(limit=limit)
        if pay_with is PayWith.CARD and not payment_method:
            (await self._waiting.find_or_add(buyer)).add(order.id)
        self._orders.add(order)
        checkout = Checkout(
            order=order.id,
            buyer=buyer,
            lines=order.lines,
            total=order.total,
            pay_with=pay_with,
            payment_method=payment_method,
        )
        self._checkouts.start(checkout, id=order.id)
        return PlacedOrder(order_id=order.id, saga_id=order.id)

    async def keep_waiting(self, order: OrderId) -> None:
        found = await self._orders.find(order)
        if found is None or found.status is not OrderStatus.PENDING:
            return
        try:
            (await self._waiting.find_or_add(found.buyer)).add(order)
        except TooManyWaiting:
            found.fail(Text("too many orders wait for their payment"))

    async def _stop_waiting(self, order: domain.Order) -> None:
        waiting = await self._waiting.find(order.buyer)
        if waiting is not None:
            waiting.remove(order.id)

    async def confirm(self, order: OrderId) -> None:
        found = await self._orders.get(order)
        found.confirm()
        await self._stop_waiting(found)

    async def ship(self, order: OrderId) -> None:
        (await self._orders.get(order)).ship()

    async def deliver(self, order: OrderId) -> None:
        (await self._orders.get(order)).deliver()

    async def cancel(self, order: OrderId, reason: Text) -> None:
        found = await self._orders.get(order)
        permit(found.buyer, "admin")
        found.cancel(reason)
        await self._stop_waiting(found)

    async def fail(self, order: OrderId, reason: Text) -> None:
        found = await self._orders.get(order)
        found.fail(reason)
        await self._stop_waiting(found)

    async def know_buyer(self, buyer: Id, name: Name, email: Text) -> None:
        (await self._buyers.find_or_add(buyer)).know(name, email)

    async def forget_buyer(self, buyer: Id) -> None:
        (await self._buyers.find_or_add(buyer)).forget()

    async def know_product(self, product: ProductId, name: Name) -> None:
        (await self._products.find_or_add(product)).know(name)

    async def order(self, order: OrderId) -> Order:
        row = await self._order_rows.get(order)
        permit(row.buyer, "admin")
        (shown,) = await self._shown((row,))
        return shown

    async def orders(
        self,
        *,
        user_id: Id | None = None,
        status: OrderStatus | None = None,
        from_: datetime | None = None,
        to: datetime | None = None,
        paging: Paging = Paging(),
    ) -> Page[Order]:
        buyer = narrow(user_id, "admin")
        rows = await self._order_rows.page(
            buyer=buyer, status=status, placed_at=within(from_, to), order="-placed_at", paging=paging
        )
        return Page.of(await self._shown(rows.items), rows.total, paging)

    async def _require_user(self, buyer: Id) -> None:
        if not (await self._identity.validate(UserId(buyer))).valid:
            raise UnknownBuyer()

    async def _priced(self, lines: tuple[Item, ...]) -> tuple[OrderLine, ...]:
        """The lines at the catalog's prices. Raises `ProductNotOnSale`."""
        offers = await self._catalog.offers(tuple(line.product_id for line in lines))
        prices = {offer.id: offer for offer in offers}
        for line in lines:
            if line.product_id not in prices:
                raise ProductNotOnSale(product=line.product_id)
        return tuple(
            OrderLine(
                product=line.product_id,
                name=prices[line.product_id].name,
                quantity=line.quantity,
                unit_price=prices[line.product_id].price,
            )
            for line in lines
        )

    async def _shown(self, rows: tuple[OrderRow, ...]) -> list[Order]:
        """Orders with the current names of their buyers and products."""
        buyers = await self._buyer_rows.all(row.buyer for row in rows)
        products = await self._product_rows.all(line.product for row in rows for line in row.lines)
        return [_shown(row, buyers.get(row.buyer), products) for row in rows]


def _shown(row: OrderRow, buyer: BuyerRow | None, products: dict[ProductId, ProductRow]) -> Order:
    lines = tuple(
        ShownLine(
            product_id=line.product,
            product_name=products[line.product].name if line.product in products else line.name,
            quantity=line.quantity,
            unit_price=line.unit_price,
            subtotal=line.subtotal,
        )
        for line in row.lines
    )
    cancelled = row.status is OrderStatus.CANCELLED
    return Order(
        id=row.order_id,
        user_id=row.buyer,
        buyer_name=Name("") if buyer is None else buyer.name,
        buyer_email=Text("") if buyer is None else buyer.email,
        lines=lines,
        item_count=sum(line.quantity for line in row.lines),
        total=row.total,
        status=row.status,
        status_display=f"Cancelled ({row.reason})" if cancelled else row.status.capitalize(),
        placed_at=row.placed_at,
        version=row.version,
    )
