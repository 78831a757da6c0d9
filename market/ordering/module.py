"""Ordering's wiring."""

from craton.application import Module
from market.ordering.api import Ordering
from market.ordering.http import routes
from market.ordering.policies import KeepWaiting, KnowBuyers, KnowProducts
from market.ordering.read_models import Buyers, Orders, Products
from market.ordering.sagas import Checkout
from market.ordering.use_cases import OrderingService

ordering = Module(
    "ordering",
    api=Ordering,
    service=OrderingService,
    projections=[Orders, Buyers, Products],
    policies=[KeepWaiting, KnowBuyers, KnowProducts],
    sagas=[Checkout],
    routes=routes,
)
