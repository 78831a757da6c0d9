"""Inventory's wiring."""

from craton.application import Module
from market.inventory.api import Inventory
from market.inventory.http import routes
from market.inventory.policies import TakeBack
from market.inventory.read_models import Stocks
from market.inventory.use_cases import InventoryService

inventory = Module(
    "inventory",
    api=Inventory,
    service=InventoryService,
    projections=[Stocks],
    policies=[TakeBack],
    routes=routes,
)
