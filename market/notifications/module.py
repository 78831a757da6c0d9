"""Notifications' wiring."""

from craton.application import Module
from market.notifications.adapters import choose_mailer
from market.notifications.api import Notifications
from market.notifications.http import routes
from market.notifications.policies import Post, Write
from market.notifications.ports import Mailer
from market.notifications.read_models import Letters
from market.notifications.settings import NotificationsSettings
from market.notifications.use_cases import NotificationsService

notifications = Module(
    "notifications",
    api=Notifications,
    service=NotificationsService,
    projections=[Letters],
    policies=[Write, Post],
    routes=routes,
    settings=NotificationsSettings,
    provides={Mailer: choose_mailer},
)
