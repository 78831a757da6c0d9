"""Whatever is asked of the stock, in whatever order: it is what a model says it is, and it adds up."""

import asyncio
import copy
import random
from collections import Counter
from collections.abc import Coroutine, Mapping
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from craton.application import Repository
from craton.domain import Aggregate, DomainError, Id, Name
from craton.testing import RunningApp
from market.catalog.api import Catalog
from market.catalog.events import ProductId
from market.inventory.api import Inventory
from market.inventory.domain import Reservation, StockItem
from market.inventory.events import (
    Line,
    ReservationMade,
    ReservationStatus,
    StockDepleted,
    StockReleased,
    StockReserved,
    StockRestocked,
    StockUpdated,
)
from market.inventory.use_cases import InventoryService
from tests.market.money import eur
from tests.market.refusals import code_of

PRODUCTS = tuple(ProductId(product) for product in ("knife", "fork", "spoon"))
ORDERS = tuple(Id.new() for _ in range(4))

RESERVED, RELEASED = ReservationStatus.RESERVED, ReservationStatus.RELEASED
COMMITTED, RESTOCKED = ReservationStatus.COMMITTED, ReservationStatus.RESTOCKED

orders = st.sampled_from(ORDERS)
products = st.sampled_from(PRODUCTS)
quantities = st.integers(1, 6)


class Kept(Repository[Any]):
    """A repository whose aggregates are in memory, of no unit of work."""

    def __init__(self, kind: type[Aggregate[Any]]) -> None:
        nowhere: Any = None
        super().__init__(kind, nowhere)
        self.all: dict[str, Any] = {}

    async def find(self, id: str) -> Any:
        return self.all.get(id)

    def add(self, aggregate: Any) -> None:
        self.all[aggregate.id] = aggregate


class AnyProduct:
    async def product(self, product: ProductId) -> None:
        """The catalog knows every product."""


class StockAgainstModel(RuleBasedStateMachine):
    """The model: what is on hand, and for each order how it stands and what it wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.items, self.reservations = Kept(StockItem), Kept(Reservation)
        kept: Any = (self.items, self.reservations, None, AnyProduct())
        self.inventory = InventoryService(*kept)
        self.on_hand: Counter[ProductId] = Counter()
        self.standing: dict[Id, ReservationStatus] = {}
        self.wanted: dict[Id, Mapping[ProductId, int]] = {}

    def call(self, command: Coroutine[Any, Any, None]) -> str:
        """The code with which a command is refused; then nothing has happened, as a transaction sees to."""
        before = copy.deepcopy((self.items.all, self.reservations.all))
        try:
            command.send(None)
        except StopIteration:
            return ""
        except DomainError as refusal:
            self.items.all, self.reservations.all = before
            return refusal.code
        raise AssertionError("nothing here waits")

    def available(self, product: ProductId) -> int:
        held = (self.wanted[order] for order, status in self.standing.items() if status is RESERVED)
        return self.on_hand[product] - sum(wanted.get(product, 0) for wanted in held)

    @rule(product=products, quantity=quantities)
    def restock(self, product: ProductId, quantity: int) -> None:
        assert self.call(self.inventory.restock(product, quantity)) == ""
        self.on_hand[product] += quantity

    @rule(order=orders, lines=st.lists(st.tuples(products, quantities), min_size=1, max_size=4))
    def reserve(self, order: Id, lines: list[tuple[ProductId, int]]) -> None:
        wanted: Counter[ProductId] = Counter()
        for product, quantity in lines:
            wanted[product] += quantity
        known = all(product in self.on_hand for product in wanted)
        enough = all(quantity <= self.available(product) for product, quantity in wanted.items())

        code = self.call(
            self.inventory.reserve(
                order, tuple(Line(product=product, quantity=quantity) for product, quantity in lines)
            )
        )

        if not known:
            assert code == "unknown-product"
        elif self.standing.get(order) in (RELEASED, RESTOCKED):
            assert code == "reservation-gone"
        elif order in self.standing:
            assert code == ""
        elif not enough:
            assert code == "insufficient-stock"
        else:
            assert code == ""
            self.standing[order], self.wanted[order] = RESERVED, wanted

    @rule(order=orders)
    def release(self, order: Id) -> None:
        code = self.call(self.inventory.release(order))

        if self.standing.get(order) is COMMITTED:
            assert code == "goods-taken"
        else:
            assert code == ""
            self.let_go(order)

    @rule(order=orders)
    def commit(self, order: Id) -> None:
        code = self.call(self.inventory.commit(order))

        match self.standing.get(order):
            case None:
                assert code == "reservation-not-found"
            case ReservationStatus.RESERVED:
                assert code == ""
                self.standing[order] = COMMITTED
                self.on_hand.subtract(self.wanted[order])
            case ReservationStatus.COMMITTED:
                assert code == ""
            case _:
                assert code == "reservation-gone"

    @rule(order=orders)
    def take_back(self, order: Id) -> None:
        assert self.call(self.inventory.take_back(order)) == ""

        if self.standing.get(order) is COMMITTED:
            self.standing[order] = RESTOCKED
            self.on_hand.update(self.wanted[order])
        else:
            self.let_go(order)

    def let_go(self, order: Id) -> None:
        if self.standing.get(order) in (None, RESERVED):
            self.standing[order] = RELEASED

    @invariant()
    def the_shelf_is_what_the_model_says(self) -> None:
        for item in self.items.all.values():
            product = item.id
            assert item.on_hand == self.on_hand[product] >= item.reserved >= 0
            assert item.available == self.available(product) >= 0

    @invariant()
    def the_reservations_are_what_the_model_says(self) -> None:
        standing = {order: made.status for order, made in self.reservations.all.items() if made.status is not None}
        assert standing == self.standing

    @invariant()
    def its_events_tell_the_same(self) -> None:
        for item in self.items.all.values():
            again = StockItem(item.id)
            for event in item.recorded:
                again.apply(event)
                assert again.available >= 0
            assert (again.on_hand, again.reserved) == (item.on_hand, item.reserved)


TestStockAgainstModel = StockAgainstModel.TestCase
TestStockAgainstModel.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


# --- on the stores, many at once -----------------------------------------------------------------------------


async def test_six_hundred_calls_at_once_leave_a_stock_that_adds_up(market: RunningApp) -> None:
    catalog, inventory = market.api(Catalog), market.api(Inventory)
    for product in PRODUCTS:
        await catalog.add(Name(product), eur("1.00"), id=ProductId(product))
        await inventory.restock(product, 30)
    dice = random.Random(20260131)
    ids = [Id.new() for _ in range(60)]
    codes: Counter[str] = Counter()

    async def caller() -> None:
        for _ in range(20):
            order, verb = dice.choice(ids), dice.choice(("reserve", "reserve", "commit", "release", "take_back"))
            lines = tuple(Line(product=dice.choice(PRODUCTS), quantity=dice.randint(1, 4)) for _ in range(2))
            more = (lines,) if verb == "reserve" else ()
            codes[await code_of(getattr(inventory, verb)(order, *more))] += 1

    await asyncio.gather(*(caller() for _ in range(30)))

    assert set(codes) <= {"", "insufficient-stock", "reservation-gone", "reservation-not-found", "goods-taken"}
    made, shelf = await told(market)
    reserved: Counter[str] = Counter()
    gone: Counter[str] = Counter()
    for order, wanted in made.items():
        status = await inventory.reservation(Id(order))
        if status is RESERVED:
            reserved.update(wanted)
        elif status is COMMITTED:
            gone.update(wanted)
    for product in PRODUCTS:
        counted = shelf[product]
        assert (counted.on_hand, counted.reserved) == (30 - gone[product], reserved[product])


async def told(market: RunningApp) -> tuple[dict[str, Counter[str]], dict[str, StockItem]]:
    """What the events say: what each reservation was made for, and the shelf, which is never short on the way."""
    running = market.app.running["inventory"]
    made: dict[str, Counter[str]] = {}
    shelf = {str(product): StockItem(product) for product in PRODUCTS}
    async for stored in running.source.stored():
        event = running.module.events.recorded(stored)
        match event.data:
            case ReservationMade(lines=lines):
                made[event.subject] = Counter({line.product: line.quantity for line in lines})
            case StockReserved() | StockReleased() | StockUpdated() | StockRestocked() | StockDepleted() as fact:
                shelf[event.subject].apply(fact)
                assert shelf[event.subject].available >= 0, "oversold"
    return made, shelf
