"""Which URL is which method of identity's API."""

from craton.application import Routes, delete, get, only, own, per_minute, post, public, put
from market.identity.api import Identity
from market.identity.webhooks import membership_webhook

FEW = per_minute(30, by="address")

routes = Routes(
    post("/v1/users", Identity.register, status=201, location="/v1/users/{id}", access=public, limit=FEW),
    get("/v1/users", Identity.users, access=only("admin")),
    get("/v1/users/{user}", Identity.user),
    put("/v1/users/{user}", Identity.update, status=204, access=own("user", "admin")),
    delete("/v1/users/{user}", Identity.delete, access=own("user", "admin")),
    put("/v1/users/{user}/roles", Identity.change_roles, status=204, access=only("admin")),
    get("/v1/users/{user}/validate", Identity.validate, access=only("service", "admin")),
    post("/v1/login", Identity.login, access=public, limit=FEW),
    post("/v1/token/refresh", Identity.refresh, access=public),
    post("/v1/logout", Identity.logout, status=204, caller="user"),
    post("/v1/membership/webhooks", membership_webhook, status=204, access=public),
)
