"""Shipping's wiring."""

from craton.application import Module
from market.shipping.api import Shipping
from market.shipping.http import routes
from market.shipping.policies import FollowOrders
from market.shipping.read_models import Shipments
from market.shipping.use_cases import ShippingService

shipping = Module(
    "shipping",
    api=Shipping,
    service=ShippingService,
    projections=[Shipments],
    policies=[FollowOrders],
    routes=routes,
)
