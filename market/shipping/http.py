"""Which URL is which method of shipping's API."""

from craton.application import Routes, get
from market.shipping.api import Shipping

routes = Routes(
    get("/v1/shipments", Shipping.shipments),
    get("/v1/shipments/{shipment}", Shipping.shipment),
)
