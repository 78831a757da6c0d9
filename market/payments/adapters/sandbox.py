"""The sandbox: takes no money, and answers by the name of the card.

| method | what comes of it |
|---|---|
| `pm_card_visa`, or any other | it succeeds |
| `pm_card_declined` | declined: `card_declined` |
| `pm_card_insufficient_funds` | declined: `insufficient_funds` |
| `pm_card_authentication` | the payer would have to do something, which he never does |
| `pm_card_timeout` | the money is taken, though the answer gets lost: asked again, it says so |
| `pm_card_unreachable` | nobody ever answers |
"""

import asyncio
from collections import Counter

from craton.application import Unavailable
from craton.domain import Money
from market.payments.events import Standing
from market.payments.ports import BadSignature, Intent, Notice, Outcome

OUTCOMES = {
    "pm_card_declined": Outcome(standing=Standing.FAILED, reason="card_declined"),
    "pm_card_insufficient_funds": Outcome(standing=Standing.FAILED, reason="insufficient_funds"),
    "pm_card_authentication": Outcome(standing=Standing.REQUIRES_ACTION),
}
SLOW_SECONDS = 0.2


class Sandbox:
    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()
        self._taken: set[str] = set()

    async def announce(self, payment: str, order: str, amount: Money) -> Intent:
        return Intent(reference=f"sandbox_{payment}", client_secret=f"sandbox_{payment}_secret")

    async def charge(self, reference: str, method: str | None) -> Outcome:
        self._asked[reference] += 1
        outcome = OUTCOMES.get(method or "", Outcome(standing=Standing.SUCCEEDED))
        if outcome.standing is Standing.SUCCEEDED and method != "pm_card_unreachable":
            self._taken.add(reference)
        if method == "pm_card_unreachable" or (method == "pm_card_timeout" and self._asked[reference] == 1):
            await asyncio.sleep(SLOW_SECONDS)
            raise Unavailable("The sandbox doesn't answer in time.", maybe_executed=True)
        return outcome

    async def call_off(self, reference: str) -> Outcome:
        if reference in self._taken:
            return Outcome(standing=Standing.SUCCEEDED)
        return Outcome(standing=Standing.FAILED, reason="called off")

    async def refund(self, reference: str, refund: str, amount: Money) -> None:
        """There is nothing to give back."""

    async def page(self, payment: str, order: str, amount: Money) -> str:
        return f"https://sandbox.invalid/pay/{payment}"

    def read(self, body: bytes, signature: str) -> Notice:
        raise BadSignature()  # the sandbox sends no webhooks, so that whoever says it does isn't it
