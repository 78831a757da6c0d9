"""What a call is refused with."""

from collections.abc import Awaitable
from typing import Any

from craton.domain import DomainError


async def code_of(call: Awaitable[Any]) -> str:
    """The code with which a call is refused, "" if it isn't."""
    try:
        await call
    except DomainError as refusal:
        return refusal.code
    return ""
