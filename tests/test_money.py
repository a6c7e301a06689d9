"""Money is whole minor units of its own currency."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InvalidInput
from pipeline.money import exponent, to_minor, to_text

CURRENCIES = ["JPY", "EUR", "USD", "KWD", "CLF"]


@pytest.mark.parametrize(
    ("currency", "places"), [("JPY", 0), ("EUR", 2), ("USD", 2), ("KWD", 3), ("CLF", 4)]
)
def test_a_currency_has_its_own_exponent(currency: str, places: int) -> None:
    assert exponent(currency) == places


@pytest.mark.parametrize("code", ["EURO", "eur", "", "ZZZ", "XAU", "XXX"])
def test_what_is_no_currency_with_minor_units_is_refused_by_name(code: str) -> None:
    with pytest.raises(InvalidInput, match=repr(code)):
        exponent(code)


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("2.55", "EUR", 255),
        ("2.5", "EUR", 250),
        ("2", "EUR", 200),
        ("2.550", "EUR", 255),
        ("255", "JPY", 255),
        ("255.0", "JPY", 255),
        ("2.555", "KWD", 2555),
        ("0", "EUR", 0),
        ("-1.00", "EUR", -100),
    ],
)
def test_a_decimal_amount_is_so_many_minor_units(text: str, currency: str, minor: int) -> None:
    assert to_minor(text, currency) == minor


@pytest.mark.parametrize(
    ("text", "currency"), [("2.555", "EUR"), ("0.5", "JPY"), ("2.5555", "KWD")]
)
def test_a_fraction_of_a_minor_unit_is_refused(text: str, currency: str) -> None:
    with pytest.raises(InvalidInput, match=f"more decimal places than {currency}"):
        to_minor(text, currency)


@pytest.mark.parametrize("text", ["", "two", "1,50", "NaN", "Infinity"])
def test_what_is_no_decimal_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        to_minor(text, "EUR")


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [(255, "GBP", "2.55"), (255, "JPY", "255"), (255, "KWD", "0.255"), (0, "EUR", "0.00")],
)
def test_an_amount_is_shown_with_all_its_places(minor: int, currency: str, text: str) -> None:
    assert to_text(minor, currency) == text


@given(minor=st.integers(-(10**15), 10**15), currency=st.sampled_from(CURRENCIES))
def test_what_is_shown_reads_back_as_the_same_amount(minor: int, currency: str) -> None:
    assert to_minor(to_text(minor, currency), currency) == minor
