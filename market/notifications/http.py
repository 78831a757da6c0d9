"""Which URL is which method of notifications' API."""

from craton.application import Routes, get
from market.notifications.api import Notifications

routes = Routes(get("/v1/notifications", Notifications.letters))
