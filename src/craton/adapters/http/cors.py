"""Lets web sites of other origins use the application from a browser, but only those that a setting names."""

import re
from collections.abc import Callable, Sequence
from typing import Final

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from craton.application.errors import WiringError

_ORIGIN: Final = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?", re.ASCII).fullmatch
_UNDERSTOOD: Final = (
    "Authorization",
    "Content-Type",
    "Craton-Position",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
)
_SHOWN: Final = (
    "Craton-Position",
    "Craton-Request-Id",
    "ETag",
    "Idempotency-Replayed",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
)


def origins_of(text: str) -> tuple[str, ...]:
    """Read `https://shop.example.com, https://admin.example.com`. Raises `WiringError` for an invalid origin."""
    origins = tuple(origin for part in text.split(",") if (origin := part.strip()))
    for origin in origins:
        if not _ORIGIN(origin):
            raise WiringError(
                f"{origin!r} is no origin of a web site: name each as a browser does, such as https://shop.example.com"
            )
    return origins


def sharing(origins: Sequence[str]) -> Callable[[ASGIApp], ASGIApp]:
    """Middleware that sends the CORS headers. Tokens are sent in a header that scripts set, never in cookies."""

    def wrap(application: ASGIApp) -> ASGIApp:
        return CORSMiddleware(
            application,
            allow_origins=origins,
            allow_methods=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
            allow_headers=_UNDERSTOOD,
            expose_headers=_SHOWN,
        )

    return wrap
