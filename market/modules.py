"""The market's modules."""

from market.catalog.module import catalog
from market.identity.module import identity
from market.inventory.module import inventory
from market.ledger.module import ledger
from market.notifications.module import notifications
from market.ordering.module import ordering
from market.payments.module import payments
from market.shipping.module import shipping

MODULES = (identity, catalog, inventory, ordering, payments, ledger, shipping, notifications)
