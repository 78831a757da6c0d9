"""What an operator asks for a parked event, as a test says it."""

from typing import Literal

from craton.ports import Changeset, NothingParked, OperatorRequest, Store
from craton.runtime.committer import write_alone


async def ask(store: Store, subscription: str, position: int, request: Literal["retry", "drop"]) -> bool:
    """Note it for the subscription's owner; False when nothing is parked there."""
    try:
        await write_alone(store, Changeset(operator_requests=[OperatorRequest(subscription, position, request)]))
    except NothingParked:
        return False
    return True
