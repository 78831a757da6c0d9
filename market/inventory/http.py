"""Which URL is which method of inventory's API."""

from craton.application import Routes, get, only, post, public
from market.inventory.api import Inventory

routes = Routes(
    get("/v1/products/{product}/stock", Inventory.stock, access=public),
    post("/v1/products/{product}/stock", Inventory.restock, status=204, access=only("admin")),
)
