"""Messaging's wiring."""

from craton.application import Module
from market.messaging.api import Messaging
from market.messaging.http import routes
from market.messaging.read_models import Messages
from market.messaging.use_cases import MessagingService

messaging = Module("messaging", api=Messaging, service=MessagingService, projections=[Messages], routes=routes)
