"""Which URL is which method of messaging's API."""

from craton.application import Routes, delete, get, per_minute, post, put
from market.messaging.api import Messaging

LIMIT = per_minute(60, by="caller")

routes = Routes(
    post("/v1/messages", Messaging.post, status=201, location="/v1/messages/{id}", caller="author", limit=LIMIT),
    get("/v1/messages", Messaging.messages),
    get("/v1/messages/{message}", Messaging.message),
    put("/v1/messages/{message}", Messaging.edit, status=204),
    delete("/v1/messages/{message}", Messaging.delete),
)
