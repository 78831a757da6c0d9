"""The ledger's wiring."""

from craton.application import Module
from market.ledger.api import Ledger
from market.ledger.http import routes
from market.ledger.read_models import Balances, Statement, Transfers
from market.ledger.use_cases import LedgerService
from market.ledger.verification import verify

ledger = Module(
    "ledger",
    api=Ledger,
    service=LedgerService,
    projections=[Balances, Statement, Transfers],
    retired=["balance"],  # rows of accounts were called so before they became AccountState
    routes=routes,
    sealed=True,
    verify=verify,
)
