"""Which URL is which method of ordering's API."""

from craton.application import Routes, get, only, per_minute, post
from market.ordering.api import Ordering

STAFF = only("admin", "service")
LIMIT = per_minute(120, by="caller")

routes = Routes(
    post("/v1/orders", Ordering.place, status=202, location="/v1/orders/{order_id}", caller="buyer", limit=LIMIT),
    get("/v1/orders", Ordering.orders),
    get("/v1/orders/{order}", Ordering.order),
    post("/v1/orders/{order}/cancel", Ordering.cancel, status=204),
    post("/v1/orders/{order}/ship", Ordering.ship, status=204, access=STAFF),
    post("/v1/orders/{order}/deliver", Ordering.deliver, status=204, access=STAFF),
)
