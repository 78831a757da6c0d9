"""A place for a ledger that is asked over HTTP: it has a door, and that stands open."""

from collections.abc import Callable
from datetime import datetime

from craton.domain.world import now
from craton.runtime import App
from market.ledger.module import ledger
from tests.door.standing_open import Door, door, stands_open
from tests.market.world import Place


class GuardedPlace(Place):
    """A place for a ledger with a door."""

    def app(self, clock: Callable[[], datetime] = now) -> App:
        return App(
            self.name,
            modules=[ledger, door],
            authenticate=Door.authenticate,
            middleware=[stands_open],
            copied_calls=True,
            clock=clock,
        )

    async def drop(self) -> None:
        await super().drop()
        await self.drop_schema("door")
