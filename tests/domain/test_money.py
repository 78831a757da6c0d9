"""Money is a whole number of minor units of an ISO 4217 currency, and nothing else."""

import copy
import pickle
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from craton.application.codec import decode, encode
from craton.domain import AmountTooLarge, Currency, CurrencyMismatch, Money

LIMIT = 9 * 10**15
EXPONENTS = {"JPY": 0, "EUR": 2, "KWD": 3, "CLF": 4}

currencies = st.sampled_from([Currency(code) for code in EXPONENTS])
minors = st.integers(-LIMIT, LIMIT)
amounts = st.builds(Money, minors, currencies)
euros = st.builds(lambda minor: Money(minor, Currency("EUR")), st.integers(-(10**9), 10**9))


def eur(amount: str) -> Money:
    return Money.of(amount, "EUR")


@given(amounts)
def test_a_formatted_amount_can_be_read_back(money: Money) -> None:
    assert Money.of(money.amount, money.currency) == money


@given(amounts)
def test_the_wire_form_can_be_read_back(money: Money) -> None:
    assert decode(Money, encode(money)) == money


@given(amounts)
def test_an_amount_is_written_with_the_decimals_of_its_currency(money: Money) -> None:
    _, _, decimals = money.amount.partition(".")

    assert len(decimals) == EXPONENTS[money.currency]


@given(amounts)
def test_an_amount_means_the_same_as_the_decimal_number(money: Money) -> None:
    assert Decimal(money.amount) == Decimal(money.minor).scaleb(-EXPONENTS[money.currency])


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("12.34", "EUR", 1234),
        ("12.3", "EUR", 1230),
        ("12", "EUR", 1200),
        ("-0.05", "EUR", -5),
        ("1", "JPY", 1),
        ("1.234", "KWD", 1234),
        ("1.2345", "CLF", 12345),
        ("90000000000000.00", "EUR", LIMIT),
        ("-90000000000000.00", "EUR", -LIMIT),
    ],
)
def test_a_decimal_string_is_read_by_the_currencys_exponent(amount: str, currency: str, minor: int) -> None:
    assert Money.of(amount, currency).minor == minor


def test_minus_zero_is_zero() -> None:
    assert Money.of("-0.00", "EUR") == eur("0")
    assert eur("-0.00").amount == "0.00"


@pytest.mark.parametrize(
    "amount",
    [
        12.34,
        12,
        True,
        None,
        Decimal("12.34"),
        "",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e3",
        "0x10",
        "1_000",
        "1,50",
        "+1",
        " 1",
        "1 ",
        "1\n",
        ".5",
        "5.",
        "--1",
        "\uff11\uff12",
        "\u0663",
        "12.345",
        "90000000000000.01",
        "9" * 40,
    ],
)
def test_what_is_no_decimal_string_of_the_currency_is_refused(amount: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        Money.of(amount, "EUR")


@pytest.mark.parametrize(("amount", "currency"), [("1.0", "JPY"), ("1.2345", "KWD"), ("1.23456", "CLF")])
def test_more_decimals_than_the_currency_has_are_refused(amount: str, currency: str) -> None:
    with pytest.raises(ValueError, match=r"decimals|decimal string"):
        Money.of(amount, currency)


@pytest.mark.parametrize("currency", ["eur", "XXX", "", "EU", "EURO", "\uff25\uff35\uff32", None, 978, True])
def test_money_of_no_currency_is_refused(currency: Any) -> None:
    with pytest.raises(ValueError, match="ISO 4217"):
        Money.of("1", currency)


@pytest.mark.parametrize("minor", [1.0, True, "1", None, Decimal(1)])
def test_minor_units_are_a_whole_number_and_no_boolean(minor: Any) -> None:
    with pytest.raises(TypeError):
        Money(minor, Currency("EUR"))


@pytest.mark.parametrize(
    "wire",
    [
        b"12.34",
        b"12",
        b"true",
        b"null",
        b'"12.34"',
        b'["12.34", "EUR"]',
        b"{}",
        b'{"amount": "12.34"}',
        b'{"currency": "EUR"}',
        b'{"amount": 12.34, "currency": "EUR"}',
        b'{"amount": 12, "currency": "EUR"}',
        b'{"amount": true, "currency": "EUR"}',
        b'{"amount": null, "currency": "EUR"}',
        b'{"amount": "NaN", "currency": "EUR"}',
        b'{"amount": "Infinity", "currency": "EUR"}',
        b'{"amount": "12.34", "currency": 978}',
        b'{"amount": "12.34", "currency": "EUR", "rounded": false}',
    ],
)
def test_no_other_wire_form_is_money(wire: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(Money, wire)


@pytest.mark.parametrize("minor", [LIMIT, -LIMIT])
def test_nine_times_ten_to_the_fifteenth_is_still_money(minor: int) -> None:
    assert Money(minor, Currency("EUR")).minor == minor


@pytest.mark.parametrize("minor", [LIMIT + 1, -LIMIT - 1, 10**30])
def test_no_amount_is_beyond_the_bounds(minor: int) -> None:
    with pytest.raises(AmountTooLarge):
        Money(minor, Currency("EUR"))


def test_no_sum_is_beyond_the_bounds() -> None:
    most = Money(LIMIT, Currency("EUR"))

    with pytest.raises(AmountTooLarge):
        most + eur("0.01")
    with pytest.raises(AmountTooLarge):
        -most - eur("0.01")
    with pytest.raises(AmountTooLarge):
        most * 2


@given(euros, euros)
def test_subtraction_undoes_addition(one: Money, other: Money) -> None:
    assert one + other - other == one


@given(euros, euros)
def test_the_order_of_a_sum_does_not_matter(one: Money, other: Money) -> None:
    assert one + other == other + one


@given(euros, euros)
def test_amounts_are_ordered_as_their_minor_units(one: Money, other: Money) -> None:
    assert (one < other, one <= other, one == other) == (
        one.minor < other.minor,
        one.minor <= other.minor,
        one.minor == other.minor,
    )


def test_currencies_cannot_be_mixed() -> None:
    euro, yen = eur("1"), Money.of("1", "JPY")

    for mix in (lambda: euro + yen, lambda: euro - yen, lambda: euro < yen, lambda: euro >= yen):
        with pytest.raises(CurrencyMismatch) as refused:
            mix()
        assert (refused.value.left, refused.value.right) == ("EUR", "JPY")


def test_equal_amounts_of_two_currencies_are_not_equal() -> None:
    assert Money(1, Currency("EUR")) != Money(1, Currency("USD"))


@pytest.mark.parametrize("number", [1, 1.0, True])
def test_money_and_a_bare_number_do_not_mix(number: Any) -> None:
    with pytest.raises((TypeError, AttributeError)):
        eur("1") + number
    with pytest.raises((TypeError, AttributeError)):
        number + eur("1")
    assert eur("1") != number


def test_money_is_multiplied_by_a_whole_number_only() -> None:
    factor: Any = 1.5

    assert eur("1.25") * 3 == eur("3.75")
    with pytest.raises(TypeError):
        eur("1") * factor


def test_money_is_true_unless_it_is_zero() -> None:
    assert eur("0.01")
    assert eur("-0.01")
    assert not eur("0")


def test_only_more_than_zero_is_positive() -> None:
    assert (eur("0.01").positive, eur("0").positive, eur("-1").positive) == (True, False, False)


def test_money_never_changes() -> None:
    money = eur("1")

    with pytest.raises(AttributeError):
        money.minor = 5
    assert copy.copy(money) is money
    assert copy.deepcopy(money) is money


@given(amounts)
def test_money_survives_pickling(money: Money) -> None:
    assert pickle.loads(pickle.dumps(money)) == money  # noqa: S301


def test_equal_amounts_have_equal_hashes() -> None:
    assert len({eur("1"), eur("1.00"), Money(100, Currency("EUR"))}) == 1


def test_money_shows_itself_with_its_currency() -> None:
    assert str(Money.of("-1234.5", "EUR")) == "-1234.50 EUR"
    assert repr(Money.of("5", "JPY")) == "Money.of('5', 'JPY')"


@pytest.mark.parametrize(("code", "exponent"), EXPONENTS.items())
def test_a_currency_knows_its_exponent(code: str, exponent: int) -> None:
    assert Currency(code).exponent == exponent


@pytest.mark.parametrize("code", ["eur", "EU", "XXX", "XAU", "DEM", "", "EUR "])
def test_what_is_no_active_currency_is_refused(code: str) -> None:
    with pytest.raises(ValueError, match="ISO 4217"):
        Currency(code)


@pytest.mark.parametrize("wire", [b"978", b"true", b"null", b'["EUR"]', b'"eur"'])
def test_a_currency_is_read_from_its_code_only(wire: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(Currency, wire)
