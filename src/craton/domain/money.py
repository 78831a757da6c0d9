"""Money: a whole number of minor units and an ISO 4217 currency. Never a float."""

import re
from functools import total_ordering
from typing import Any, ClassVar, Final, Self

from craton.domain.errors import InvalidValue

LIMIT_MINOR_UNITS: Final = 9 * 10**15

# ISO 4217, the active currencies by their number of decimals. https://www.iso.org/iso-4217-currency-codes.html
_BY_EXPONENT: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE "
    "CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD "
    "HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP "
    "MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD "
    "SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS "
    "VED VES WST XCD YER ZAR ZMW ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
EXPONENTS: Final = {code: exponent for exponent, codes in _BY_EXPONENT.items() for code in codes.split()}


class CurrencyMismatch(InvalidValue):
    """Two amounts of different currencies can't be added or compared."""

    left: str
    right: str

    def __str__(self) -> str:
        return f"{self.left} and {self.right} can't be mixed."


class AmountTooLarge(InvalidValue):
    """The amount is beyond ±9 · 10¹⁵ minor units."""

    def __str__(self) -> str:
        return "The amount is beyond what an account can hold (±9,000,000,000,000,000 minor units)."


class Currency(str):
    """An ISO 4217 code, such as `EUR`. Raises `ValueError` for anything else."""

    __slots__ = ()

    json_schema: ClassVar[dict[str, Any]] = {"type": "string", "pattern": "^[A-Z]{3}$", "examples": ["EUR"]}

    def __new__(cls, code: str) -> Self:
        if code not in EXPONENTS:
            raise ValueError(f"{code[:16]!r} is not an ISO 4217 currency code")
        return super().__new__(cls, code)

    @property
    def exponent(self) -> int:
        """How many decimals the currency has: JPY 0, EUR 2, KWD 3."""
        return EXPONENTS[self]

    def encode_value(self) -> str:
        return str(self)

    @classmethod
    def decode_value(cls, wire: Any) -> Self:
        if type(wire) is not str:
            raise ValueError("a currency is a string")
        return cls(wire)


_CURRENCIES: Final = {code: Currency(code) for code in EXPONENTS}
_DECIMAL: Final = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,4})?", re.ASCII).fullmatch


def _schema_of_amounts(digits: int) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "amount": {
                "type": "string",
                "pattern": rf"^-?[0-9]{{1,{digits}}}(\.[0-9]{{1,4}})?$",
                "examples": ["12.34"],
            },
            "currency": Currency.json_schema,
        },
        "required": ["amount", "currency"],
        "additionalProperties": False,
    }


@total_ordering
class Money:
    """An amount of one currency, in minor units: `Money(1234, EUR)` is 12.34 EUR.

    Its wire form is `{"amount": "12.34", "currency": "EUR"}`. Amounts of two currencies don't mix
    (`CurrencyMismatch`), and an amount beyond ±9 · 10¹⁵ minor units is refused (`AmountTooLarge`).
    """

    __slots__ = ("currency", "minor")

    minor: int
    currency: Currency
    limit: ClassVar[int | None] = LIMIT_MINOR_UNITS
    json_schema: ClassVar[dict[str, Any]] = _schema_of_amounts(digits=16)

    def __init__(self, minor: int, currency: Currency) -> None:
        if type(minor) is not int:
            raise TypeError(f"money is a whole number of minor units, not {type(minor).__name__}")
        limit = self.limit
        if limit is not None and not -limit <= minor <= limit:
            raise AmountTooLarge()
        _set_minor(self, minor)
        _set_currency(self, currency)

    @classmethod
    def of(cls, amount: str, currency: str) -> Self:
        """Read a decimal string. Raises `ValueError` for too many decimals, NaN, a float, …"""
        if type(amount) is not str or not _DECIMAL(amount):
            raise ValueError('an amount is a decimal string such as "12.34"')
        known = _CURRENCIES.get(currency) if type(currency) in (str, Currency) else None
        if known is None:
            raise ValueError(f"{str(currency)[:16]!r} is not an ISO 4217 currency code")
        whole, _, decimals = amount.partition(".")
        exponent = EXPONENTS[known]
        if len(decimals) > exponent:
            raise ValueError(f"an amount in {known} has at most {exponent} decimals")
        minor = int(whole + decimals.ljust(exponent, "0"))
        try:
            return cls(minor, known)
        except AmountTooLarge as problem:
            raise ValueError(str(problem)) from None

    @classmethod
    def zero(cls, currency: Currency) -> Self:
        return cls(0, currency)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("money never changes")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[type[Self], tuple[int, Currency]]:
        return type(self), (self.minor, self.currency)

    def _same(self, other: "Money") -> None:
        if self.currency != other.currency:
            raise CurrencyMismatch(left=self.currency, right=other.currency)

    def __add__(self, other: "Money") -> Self:
        self._same(other)
        return type(self)(self.minor + other.minor, self.currency)

    def __sub__(self, other: "Money") -> Self:
        self._same(other)
        return type(self)(self.minor - other.minor, self.currency)

    def __neg__(self) -> Self:
        return type(self)(-self.minor, self.currency)

    def __mul__(self, count: int) -> Self:
        return type(self)(self.minor * count, self.currency)

    def __bool__(self) -> bool:
        return self.minor != 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and (self.minor, self.currency) == (other.minor, other.currency)

    def __lt__(self, other: "Money") -> bool:
        self._same(other)
        return self.minor < other.minor

    def __hash__(self) -> int:
        return hash((self.minor, self.currency))

    @property
    def positive(self) -> bool:
        return self.minor > 0

    @property
    def amount(self) -> str:
        """The decimal string: `"12.34"`."""
        exponent = EXPONENTS[self.currency]
        if not exponent:
            return str(self.minor)
        digits = str(abs(self.minor)).rjust(exponent + 1, "0")
        return f"{'-' if self.minor < 0 else ''}{digits[:-exponent]}.{digits[-exponent:]}"

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"

    def __repr__(self) -> str:
        return f"Money.of({self.amount!r}, {str(self.currency)!r})"

    def encode_value(self) -> dict[str, str]:
        return {"amount": self.amount, "currency": str(self.currency)}

    @classmethod
    def decode_value(cls, wire: Any) -> Self:
        if type(wire) is not dict or wire.keys() != {"amount", "currency"}:
            raise ValueError('money is an object such as {"amount": "12.34", "currency": "EUR"}')
        if type(wire["currency"]) is not str:
            raise ValueError("a currency is a code such as EUR")
        return cls.of(wire["amount"], wire["currency"])


class Total(Money):
    """The sum of amounts over time, such as a turnover. It isn't a balance, so it has no bound."""

    __slots__ = ()

    limit = None
    json_schema: ClassVar[dict[str, Any]] = _schema_of_amounts(digits=40)


# The slots' own setters: the only way to assign, since money never changes.
_set_minor = Money.__dict__["minor"].__set__
_set_currency = Money.__dict__["currency"].__set__
