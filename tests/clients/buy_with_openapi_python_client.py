"""Register, log in, order and read the order, with the client that openapi-python-client makes."""

import sys
from typing import TypeVar
from uuid import uuid4

from generated.market_client import AuthenticatedClient, Client
from generated.market_client.api.catalog import catalog_products
from generated.market_client.api.identity import identity_login, identity_register
from generated.market_client.api.ordering import ordering_order, ordering_place
from generated.market_client.models import (
    IdentityLoginBody,
    IdentityRegisterBody,
    Item,
    OrderingPlaceBody,
    OrderStatus,
    PayWith,
    Problem,
)

T = TypeVar("T")

URL = sys.argv[1]
EMAIL, PASSWORD = f"python-{uuid4()}@example.com", "a long walk in the rain"


def answer(parsed: T | Problem | None) -> T:
    assert parsed is not None and not isinstance(parsed, Problem), parsed
    return parsed


nobody = Client(base_url=URL)
user = answer(identity_register.sync(client=nobody, body=IdentityRegisterBody(EMAIL, "Pia", PASSWORD)))
tokens = answer(identity_login.sync(client=nobody, body=IdentityLoginBody(EMAIL, PASSWORD)))
pia = AuthenticatedClient(base_url=URL, token=tokens.access_token)

product = answer(catalog_products.sync(client=pia, page_size=1)).items[0]
lines = [Item(product_id=product.id, quantity=1)]
cart = OrderingPlaceBody(lines=lines, pay_with=PayWith.CARD, payment_method="pm_card_visa")
key = str(uuid4())
first = ordering_place.sync_detailed(client=pia, body=cart, idempotency_key=key)
again = ordering_place.sync_detailed(client=pia, body=cart, idempotency_key=key)
placed = answer(first.parsed)
assert answer(again.parsed) == placed
assert again.headers["idempotency-replayed"] == "true"

seen = first.headers["craton-position"]
while (
    order := answer(ordering_order.sync(placed.order_id, client=pia, craton_position=seen))
).status == OrderStatus.PENDING:
    pass
assert order.status == OrderStatus.CONFIRMED
assert (order.user_id, order.total) == (user.id, product.price)

cart.lines = [Item(product_id="nothing", quantity=1)]
refused = ordering_place.sync(client=pia, body=cart)
assert isinstance(refused, Problem)
assert refused.code == "product-not-on-sale", refused
