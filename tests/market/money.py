"""Money, as the tests write it."""

from typing import Final

from craton.domain import Currency, Money

EUR: Final = Currency("EUR")
JPY: Final = Currency("JPY")
USD: Final = Currency("USD")


def eur(amount: str) -> Money:
    return Money.of(amount, "EUR")
