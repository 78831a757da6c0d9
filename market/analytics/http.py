"""Which URL is which method of the API of analytics."""

from craton.application import Routes, get, only
from market.analytics.api import Analytics

routes = Routes(
    get("/v1/analytics/sales", Analytics.sales, access=only("admin")),
    get("/v1/analytics/revenue", Analytics.revenue, access=only("admin")),
    get("/v1/analytics/funnel", Analytics.funnel, access=only("admin")),
)
