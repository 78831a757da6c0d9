"""The toolkit's own settings: each with one name, one default, and a known source."""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from craton.application.errors import WiringError
from craton.application.settings import Settings, meaning, read_settings, shown, variable
from craton.runtime.retention import Retention


class Setting(msgspec.Struct, frozen=True):
    """The description of a setting. Its value comes from a flag, `CRATON_<NAME>`, `[tool.craton]`, or the default."""

    name: str
    default: str
    meaning: str


class SettingValue(msgspec.Struct, frozen=True):
    """A setting's value and where it came from."""

    name: str
    value: str
    source: str
    meaning: str


SETTINGS: Final = (
    Setting("app", "", "the application, as module:name"),
    Setting("host", "127.0.0.1", "the address to listen on"),
    Setting("port", "8000", "the port to listen on"),
    Setting("grpc_port", "50051", "the port of gRPC, if the application has such services; any free one beside port 0"),
    Setting("grpc_certificate", "", "the PEM file with the certificate of gRPC; without one, it isn't encrypted"),
    Setting("grpc_key", "", "the PEM file with the key of that certificate"),
    Setting(
        "topology", "", "the file that says which modules run in which service; without one, all run in one process"
    ),
    Setting(
        "caller_seconds",
        "2",
        "how many seconds a service remembers a caller that another service has found by its token; 0: not at all",
    ),
    Setting("workers", "1", "how many processes serve; more than one needs Postgres"),
    Setting("data", "./var", "the folder of the SQLite files"),
    Setting("store", "sqlite", "sqlite, memory, or a postgresql:// URL"),
    Setting("cache", "", "a redis:// URL: processes share the rows that they keep in memory; without one, they don't"),
    Setting(
        "mode",
        "development",
        "development or production; production refuses settings that are only fit for development",
    ),
    Setting(
        "address_share",
        "50",
        "the share of all connections, in per cent, that one address may hold; use 100 behind a proxy",
    ),
    Setting("proxies", "", "the addresses of the proxies whose X-Forwarded-For header is trusted"),
    Setting("origins", "", "the web sites whose scripts may use the API from a browser, such as https://a.example.com"),
    Setting("limits", "on", "whether the limits of requests in the route tables count: on or off"),
    Setting("result_days", "30", "how many days answers under clients' idempotency keys are kept"),
    Setting("ended_saga_days", "90", "how many days sagas that have ended are listed"),
    Setting("log", "info", "the lowest level of log lines to write: debug, info, warning or error"),
)


OF_TOPOLOGIES: Final = ("host", "port", "store", "workers")
"""What the file of a topology says instead, if there is one."""

VARIABLES: Final = frozenset(
    ("CRATON_CRASH_AT", "CRATON_WORKER", "CRATON_SERVICE", *(f"CRATON_{setting.name.upper()}" for setting in SETTINGS))
)
"""All environment variables that the toolkit itself reads."""


class ToolkitSettings:
    """The settings in force. Raises `WiringError` for a wrong value."""

    def __init__(self, flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> None:
        project = _project()
        self.values: dict[str, SettingValue] = {}
        for setting in SETTINGS:
            variable = f"CRATON_{setting.name.upper()}"
            if flags.get(setting.name) is not None:
                value, source = str(flags[setting.name]), "flag"
            elif environment.get(variable):
                value, source = environment[variable], variable
            elif setting.name in project:
                value, source = str(project[setting.name]), "pyproject.toml"
            else:
                value, source = setting.default, "default"
            self.values[setting.name] = SettingValue(setting.name, value, source, setting.meaning)
        self._require_number("port", "the port", 0, 65_535)
        self._require_number("grpc_port", "the port of gRPC", 0, 65_535)
        self._require_number("result_days", "how many days answers are kept", 1, 36_500)
        self._require_number("ended_saga_days", "how many days ended sagas are listed", 1, 36_500)
        self._require_number("address_share", "the share of an address, in per cent,", 1, 100)
        self._require_number("workers", "the number of workers", 1, 64)
        self._require_number("caller_seconds", "how long a caller is remembered, in seconds,", 0, 60)
        if "*" in self["proxies"]:
            raise WiringError(
                f"proxies must be addresses or networks, not {self['proxies']!r}: any client could claim to "
                f"call from another address ({self.source('proxies')})"
            )
        if self["mode"] not in ("development", "production"):
            raise WiringError(
                f"the mode must be development or production, not {self['mode']!r} ({self.source('mode')})"
            )
        if self["limits"] not in ("on", "off"):
            raise WiringError(f"the limits must be on or off, not {self['limits']!r} ({self.source('limits')})")
        if self["log"] not in ("debug", "info", "warning", "error"):
            raise WiringError(f"the log level must be debug, info, warning or error, not {self['log']!r}")

    def _require_number(self, name: str, what: str, least: int, most: int) -> None:
        text = self[name]
        if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
            raise WiringError(f"{what} must be a number from {least} to {most}, not {text!r} ({self.source(name)})")

    def __getitem__(self, name: str) -> str:
        return self.values[name].value

    def source(self, name: str) -> str:
        return self.values[name].source

    @property
    def port(self) -> int:
        return int(self["port"])

    @property
    def grpc_port(self) -> int:
        is_chosen = self.source("grpc_port") != "default"
        return int(self["grpc_port"]) if is_chosen or self.port else 0

    @property
    def workers(self) -> int:
        return int(self["workers"])

    @property
    def caller_seconds(self) -> int:
        return int(self["caller_seconds"])

    @property
    def retention(self) -> Retention:
        results, sagas = int(self["result_days"]), int(self["ended_saga_days"])
        return Retention(results=timedelta(days=results), ended_sagas=timedelta(days=sagas))

    @property
    def address_share(self) -> int:
        return int(self["address_share"])

    @property
    def are_limits_on(self) -> bool:
        return self["limits"] == "on"

    def unfit_for_production(self) -> Iterator[str]:
        """Yield a sentence for each of the toolkit's own settings that is unfit for production."""
        if not self.are_limits_on:
            yield "CRATON_LIMITS is off: anybody could send as many requests as they like."
        if self["store"] == "memory":
            yield "CRATON_STORE is memory: all data would be lost when the process ends."
        for origin in filter(None, map(str.strip, self["origins"].split(","))):
            if not origin.startswith("https://"):
                yield f"CRATON_ORIGINS names {origin}, an address without encryption; name https origins only."
        if os.environ.get("CRATON_CRASH_AT"):
            yield "CRATON_CRASH_AT makes the process kill itself; it is for tests only."

    @property
    def in_production(self) -> bool:
        return self["mode"] == "production"

    @property
    def data(self) -> Path:
        return Path(self["data"])

    def shown(self) -> list[SettingValue]:
        """All settings, with secrets masked."""
        shown = [msgspec.structs.replace(value, value=masked(value.value)) for value in self.values.values()]
        if not self["topology"]:
            return shown
        return [
            msgspec.structs.replace(value, value="", source="the topology") if value.name in OF_TOPOLOGIES else value
            for value in shown
        ]


def module_settings(module: str, kind: type[Settings], environment: Mapping[str, str]) -> Iterator[SettingValue]:
    """A module's settings, with secrets masked. Raises `WiringError` for a wrong value."""
    for name, value in shown(read_settings(kind, module, environment)):
        source = variable(module, name)
        yield SettingValue(
            f"{module}.{name}", value, source if environment.get(source) else "default", meaning(kind, name)
        )


def masked(url: str) -> str:
    """The URL with its password hidden, in whichever part of the URL it stands."""
    url = re.sub(r"(://[^:@/?#]*):.*@", r"\1:***@", url, flags=re.DOTALL)
    return re.sub(r"([?&](?:password|sslpassword|passfile)=)[^&]*", r"\1***", url)


def _project() -> dict[str, Any]:
    path = Path("pyproject.toml")
    if not path.is_file():
        return {}
    try:
        tools: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise WiringError(f"pyproject.toml can't be read: {problem}") from problem
    return dict(tools.get("craton", {}))
