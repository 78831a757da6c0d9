"""Which URL is which method of the catalog's API."""

from craton.application import Routes, delete, get, only, post, public, put
from market.catalog.api import Catalog

routes = Routes(
    post("/v1/products", Catalog.add, status=201, location="/v1/products/{id}", access=only("admin")),
    get("/v1/products", Catalog.products, access=public),
    get("/v1/products/{product}", Catalog.product, access=public),
    put("/v1/products/{product}", Catalog.change, status=204, access=only("admin")),
    delete("/v1/products/{product}", Catalog.retire, access=only("admin")),
)
