"""Values: things that are equal when their parts are equal, and never change."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Protocol, Self, runtime_checkable

import msgspec

from craton.domain.immutable import Immutable

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""A point in time; its text form (RFC 3339) includes the offset from UTC."""


class Value(Immutable, forbid_unknown_fields=True):
    """A value object: immutable fields, compared by content, encodable as they are annotated."""


@runtime_checkable
class Scalar(Protocol):
    """A value with a wire form of its own, such as `Money` or `Id`.

    `decode_value` raises `ValueError` with a sentence when it is given anything but such a form.
    """

    json_schema: ClassVar[dict[str, Any]]

    def encode_value(self) -> Any:
        """Return the wire form: JSON's own types only."""

    @classmethod
    def decode_value(cls, wire: Any) -> Self:
        """Return the value that has this wire form."""
