"""What inventory does with stock and reservations."""

from collections import Counter
from collections.abc import Iterable

from craton.application import Repository, View
from craton.domain import Id
from market.catalog.api import Catalog
from market.catalog.events import ProductId
from market.inventory.api import Inventory, Stock
from market.inventory.domain import Reservation, StockItem
from market.inventory.events import Line, QuantityNotPositive, ReservationStatus, UnknownProduct


class InventoryService(Inventory):
    def __init__(
        self,
        items: Repository[StockItem],
        reservations: Repository[Reservation],
        stocks: View[Stock],
        catalog: Catalog,
    ) -> None:
        self._items = items
        self._reservations = reservations
        self._stocks = stocks
        self._catalog = catalog

    async def restock(self, product: ProductId, quantity: int) -> None:
        await self._catalog.product(product)
        (await self._items.find_or_add(product)).restock(quantity)

    async def reserve(self, order: Id, lines: tuple[Line, ...]) -> None:
        wanted = Counter[ProductId]()
        for line in lines:
            if line.quantity <= 0:
                raise QuantityNotPositive()
            wanted[line.product] += line.quantity
        (await self._reservations.find_or_add(order)).make(wanted, await self._shelf(sorted(wanted)))

    async def release(self, order: Id) -> None:
        reservation = await self._reservations.find_or_add(order)
        reservation.release(await self._shelf_of(reservation))

    async def commit(self, order: Id) -> None:
        reservation = await self._reservations.find_or_add(order)
        reservation.commit(await self._shelf_of(reservation))

    async def take_back(self, order: Id) -> None:
        reservation = await self._reservations.find_or_add(order)
        shelf = await self._shelf_of(reservation)
        if reservation.status is ReservationStatus.COMMITTED:
            reservation.restock(shelf)
        else:
            reservation.release(shelf)

    async def stock(self, product: ProductId) -> Stock:
        return await self._stocks.get(product)

    async def reservation(self, order: Id) -> ReservationStatus | None:
        found = await self._reservations.find(order)
        return None if found is None else found.status

    async def _shelf_of(self, reservation: Reservation) -> dict[ProductId, StockItem]:
        return await self._shelf(line.product for line in reservation.lines)

    async def _shelf(self, products: Iterable[ProductId]) -> dict[ProductId, StockItem]:
        """The stock items of these products. Raises `UnknownProduct`."""
        shelf: dict[ProductId, StockItem] = {}
        for product in products:
            item = await self._items.find(product)
            if item is None:
                raise UnknownProduct(product=product)
            shelf[product] = item
        return shelf
