"""The settings of analytics."""

from datetime import date, datetime
from typing import Annotated, Any, ClassVar, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Meta

from craton.application import Settings


class Zone(str):
    """A time zone by its name in the IANA database, such as `Europe/Vienna`. Raises `ValueError` for another name."""

    __slots__ = ()

    json_schema: ClassVar[dict[str, Any]] = {"type": "string", "examples": ["Europe/Vienna"]}

    def __new__(cls, name: str) -> Self:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{name[:40]!r} is no time zone; an example is Europe/Vienna") from None
        return super().__new__(cls, name)

    def day_of(self, time: datetime) -> date:
        """The day on which a time lies in this zone."""
        return time.astimezone(ZoneInfo(self)).date()

    encode_value = str.__str__

    @classmethod
    def decode_value(cls, wire: Any) -> Self:
        if type(wire) is not str:
            raise ValueError("expected the name of a time zone")
        return cls(wire)


class AnalyticsSettings(Settings):
    zone: Annotated[Zone, Meta(description="the time zone of the days, such as Europe/Vienna")] = Zone("UTC")
