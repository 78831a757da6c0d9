"""The wiring of analytics."""

from craton.application import Module
from market.analytics.api import Analytics
from market.analytics.http import routes
from market.analytics.read_models import Days, RevenueByCurrency, SalesByProduct
from market.analytics.settings import AnalyticsSettings
from market.analytics.use_cases import AnalyticsService

analytics = Module(
    "analytics",
    api=Analytics,
    service=AnalyticsService,
    projections=[SalesByProduct, RevenueByCurrency, Days],
    routes=routes,
    settings=AnalyticsSettings,
)
