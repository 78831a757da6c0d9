"""The sandbox: a gateway that takes no money. The name of the card decides what it answers.

| method | result |
|---|---|
| `pm_card_visa`, or any other | the payment succeeds |
| `pm_card_declined` | declined: `card_declined` |
| `pm_card_insufficient_funds` | declined: `insufficient_funds` |
| `pm_card_authentication` | the payment waits for its payer, for ever |
| `pm_card_timeout` | the money is taken, but the first answer gets lost |
| `pm_card_unreachable` | the gateway never answers |
"""

import asyncio
from collections import Counter

from craton.application import Unavailable
from craton.domain import Money
from market.payments.events import BadSignature, ChargeOutcome, Notice, Standing
from market.payments.ports import Intent

OUTCOMES = {
    "pm_card_declined": ChargeOutcome(standing=Standing.FAILED, reason="card_declined"),
    "pm_card_insufficient_funds": ChargeOutcome(standing=Standing.FAILED, reason="insufficient_funds"),
    "pm_card_authentication": ChargeOutcome(standing=Standing.REQUIRES_ACTION),
}
ANSWER_TIMEOUT_SECONDS = 0.2


class Sandbox:
    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()
        self._taken: set[str] = set()

    async def announce(self, payment: str, order: str, amount: Money) -> Intent:
        return Intent(reference=f"sandbox_{payment}", client_secret=f"sandbox_{payment}_secret")

    async def charge(self, reference: str, method: str | None) -> ChargeOutcome:
        self._asked[reference] += 1
        outcome = OUTCOMES.get(method or "", ChargeOutcome(standing=Standing.SUCCEEDED))
        if outcome.standing is Standing.SUCCEEDED and method != "pm_card_unreachable":
            self._taken.add(reference)
        loses_answer = method == "pm_card_timeout" and self._asked[reference] == 1
        if loses_answer or method == "pm_card_unreachable":
            await asyncio.sleep(ANSWER_TIMEOUT_SECONDS)
            raise Unavailable("The sandbox doesn't answer in time.", maybe_executed=True)
        return outcome

    async def call_off(self, reference: str) -> ChargeOutcome:
        if reference in self._taken:
            return ChargeOutcome(standing=Standing.SUCCEEDED)
        return ChargeOutcome(standing=Standing.FAILED, reason="called off")

    async def refund(self, reference: str, refund: str, amount: Money) -> None:
        """Does nothing: no money was taken."""

    async def page(self, payment: str, order: str, amount: Money) -> str:
        return f"https://sandbox.invalid/pay/{payment}"

    def read(self, body: bytes, signature: str) -> Notice:
        raise BadSignature()  # the sandbox sends no webhooks, so that every one is forged
