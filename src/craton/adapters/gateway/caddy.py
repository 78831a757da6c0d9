"""The configuration of Caddy (https://caddyserver.com/docs/json/), as JSON.

A request goes to the service whose route it fits; a route that names a part goes before one that takes any. What is no
module's route (the documentation, for instance) goes to the first service; metrics go to nobody, because each service
has its own. Only requests that no replica has accepted are tried again. Caddy itself replaces what a client says about
its address.
"""

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec

from craton.adapters.gateway.paths import Upstream

HEALTH_PATH: Final = "/health/ready"
HEALTH_SECONDS: Final = 1
MAX_BODY_BYTES: Final = 2 * 1024 * 1024
"""More than the services accept, so that they refuse what is too large in their own words."""
TRY_SECONDS: Final = 5
"""How long another replica is looked for when connections are refused."""
ANSWER_SECONDS: Final = 40
"""A little longer than any request of a service may take."""


def caddy_config(listen: str, upstreams: Sequence[Upstream]) -> bytes:
    """The configuration of a gateway that listens at an address, such as `127.0.0.1:8000`."""
    paths = sorted({path for upstream in upstreams for path in upstream.paths}, key=_order)
    routes = [route for path in paths for route in _routes(path, [one for one in upstreams if path in one.paths])]
    server = {
        "listen": [listen],
        "routes": [
            {"handle": [{"handler": "request_body", "max_size": MAX_BODY_BYTES}]},
            {"match": [{"path": ["/metrics"]}], "handle": [_problem("404", "not-found", "There is nothing here.")]},
            *routes,
            {"handle": [_proxy(upstreams[0])]},
        ],
        "errors": {
            "routes": [
                {
                    "match": [{"vars": {"{http.error.status_code}": ["413"]}}],
                    "handle": [_problem("413", "body-too-large", f"The body is larger than {MAX_BODY_BYTES} bytes.")],
                    "terminal": True,
                },
                {"match": [{"vars": {"{http.error.status_code}": ["503"]}}], "handle": [_AWAY], "terminal": True},
                {"match": [{"method": ["GET", "HEAD", "OPTIONS"]}], "handle": [_AWAY], "terminal": True},
                {
                    "match": [{"vars": {"{http.error.status_code}": ["504"]}}],
                    "handle": [_problem("504", "deadline-exceeded", _UNKNOWN, maybe_executed=True)],
                    "terminal": True,
                },
                {"handle": [_problem("503", "unavailable", _UNKNOWN, maybe_executed=True)]},
            ]
        },
        "automatic_https": {"disable": True},
    }
    config = {
        "admin": {"disabled": True, "config": {"persist": False}},
        "logging": {"logs": {"default": {"level": "ERROR"}}},
        "apps": {"http": {"grace_period": "4s", "servers": {"gateway": server}}},
    }
    return msgspec.json.format(msgspec.json.encode(config), indent=2)


def _routes(path: str, upstreams: Sequence[Upstream]) -> Iterator[dict[str, Any]]:
    """The routes for a path; a method that no service has for it is refused by the first that has the path."""
    for upstream in upstreams[1:]:
        match = {"path_regexp": {"pattern": _pattern(path)}, "method": sorted(upstream.paths[path])}
        yield {"match": [match], "handle": [_proxy(upstream)], "terminal": True}
    match = {"path_regexp": {"pattern": _pattern(path)}}
    yield {"match": [match], "handle": [_proxy(upstreams[0])], "terminal": True}


def _order(path: str) -> list[tuple[bool, str]]:
    """Sorts a fixed part before one that may be anything."""
    return [(part == "*", part) for part in path.split("/")]


def _pattern(path: str) -> str:
    """A regular expression (RE2) for a path; a part of `*` is anything without a slash."""
    return f"^{'/'.join('[^/]+' if part == '*' else _escaped(part) for part in path.split('/'))}$"


def _escaped(part: str) -> str:
    return "".join(character if character.isalnum() or character in "-_~" else f"\\{character}" for character in part)


def _proxy(upstream: Upstream) -> dict[str, Any]:
    return {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": _dial(address.text)} for address in upstream.addresses],
        "load_balancing": {
            "selection_policy": {"policy": "least_conn"},
            "try_duration": f"{TRY_SECONDS}s",
            "try_interval": "50ms",
            "retry_match": [{"expression": "false"}],
        },
        "health_checks": {
            "active": {
                "uri": HEALTH_PATH,
                "interval": f"{HEALTH_SECONDS}s",
                "timeout": "2s",
                "expect_status": 200,
                "headers": {"Host": ["gateway"]},
            }
        },
        "transport": {
            "protocol": "http",
            "dial_timeout": "2s",
            "response_header_timeout": f"{ANSWER_SECONDS}s",
            "keep_alive": {"idle_timeout": "20s", "max_idle_conns_per_host": 256},
        },
    }


def _dial(address: str) -> str:
    return (
        f"unix/{address.removeprefix('unix://')}" if address.startswith("unix://") else address.removeprefix("http://")
    )


def _problem(status: str, code: str, detail: str, *, maybe_executed: bool = False) -> dict[str, Any]:
    """An answer of the gateway's own, as a problem (RFC 9457)."""
    title = HTTPStatus(int(status)).phrase
    body = {"type": "about:blank", "title": title, "status": int(status), "code": code, "detail": detail}
    headers = {"Content-Type": ["application/problem+json"], "Cache-Control": ["no-store"]}
    if maybe_executed:
        body["maybe_executed"] = True
    elif status == "503":
        headers["Retry-After"] = ["1"]
    return {
        "handler": "static_response",
        "status_code": status,
        "headers": headers,
        "body": msgspec.json.encode(body).decode(),
    }


_AWAY: Final = _problem("503", "unavailable", "What this needs can't be reached now; try again.")
_UNKNOWN: Final = "What this needs hasn't answered; repeat the request with its Idempotency-Key to find out."
