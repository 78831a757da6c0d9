"""A place for a ledger that is asked over HTTP: it has a door, and that stands open."""

from craton.runtime import App
from market.ledger.module import ledger
from tests.door.standing_open import Door, door, stands_open
from tests.market.bank import Place


class GuardedPlace(Place):
    """A place for a ledger with a door."""

    @property
    def app(self) -> App:
        return App(
            self.name,
            modules=[ledger, door],
            authenticate=Door.authenticate,
            middleware=[stands_open],
        )
