"""The catalog's wiring."""

from craton.application import Module
from market.catalog.api import Catalog
from market.catalog.http import routes
from market.catalog.read_models import Products
from market.catalog.use_cases import CatalogService

catalog = Module("catalog", api=Catalog, service=CatalogService, projections=[Products], routes=routes)
