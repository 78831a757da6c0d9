"""The market's modules."""

from market.analytics.module import analytics
from market.catalog.module import catalog
from market.courses.module import courses
from market.identity.module import identity
from market.inventory.module import inventory
from market.ledger.module import ledger
from market.messaging.module import messaging
from market.notifications.module import notifications
from market.ordering.module import ordering
from market.payments.module import payments
from market.recipes.module import recipes
from market.shipping.module import shipping

MODULES = (
    identity,
    messaging,
    recipes,
    courses,
    catalog,
    inventory,
    ordering,
    payments,
    ledger,
    shipping,
    notifications,
    analytics,
)
