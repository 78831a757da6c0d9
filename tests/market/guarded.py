"""A place for a ledger that is asked over HTTP: it has a door, and that stands open."""

from pathlib import Path

from craton.runtime import App
from market.ledger.module import ledger
from tests.door.standing_open import Door, door, stands_open
from tests.market.bank import BankPlace


class GuardedPlace(BankPlace):
    """A place for a ledger with a door."""

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(url, folder, [ledger, door])

    @property
    def app(self) -> App:
        return App(self.name, modules=self.modules, authenticate=Door.authenticate, middleware=[stands_open])
