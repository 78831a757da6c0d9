"""The gateway: an existing proxy, whose configuration is derived from the route tables."""

from craton.adapters.gateway.caddy import caddy_config
from craton.adapters.gateway.paths import Upstream, upstreams

__all__ = ["Upstream", "caddy_config", "upstreams"]
