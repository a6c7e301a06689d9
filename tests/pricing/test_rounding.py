"""Where a fraction of a minor unit is rounded, and which way a half goes."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.pricing.rounding import DIVIDE
from tests.pricing.carts import cart, discounts, line, promotion, quoted, shipped, taxed, taxes

MODES = ["half_up", "half_even", "half_down"]
LEVELS = ["unit", "line", "document"]
CURRENCIES = ["JPY", "EUR", "KWD"]  # no, two and three decimal places


@pytest.mark.parametrize(
    ("numerator", "denominator", "up", "even", "down"),
    [(4, 10, 0, 0, 0), (5, 10, 1, 0, 0), (6, 10, 1, 1, 1), (15, 10, 2, 2, 1), (25, 10, 3, 2, 2),
     (251, 100, 3, 3, 3), (3, 6, 1, 0, 0), (0, 7, 0, 0, 0), (7, 1, 7, 7, 7)],
)  # fmt: skip
def test_a_half_goes_up_down_or_to_the_even_neighbour(
    numerator: int, denominator: int, up: int, even: int, down: int
) -> None:
    assert [DIVIDE[mode](numerator, denominator) for mode in MODES] == [up, even, down]


@given(numerator=st.integers(0, 10**30), denominator=st.integers(1, 10**15))
def test_rounding_is_that_of_exact_fractions(numerator: int, denominator: int) -> None:
    exact = Fraction(numerator, denominator)

    assert DIVIDE["half_up"](numerator, denominator) == floor(exact + Fraction(1, 2))
    assert DIVIDE["half_even"](numerator, denominator) == round(exact)
    assert DIVIDE["half_down"](numerator, denominator) == ceil(exact - Fraction(1, 2))


# Five units at 5 and one at 15. At 10 % a unit's tax is 0.5 and 1.5, a line's 2.5 and 1.5, the
# document's 4. At 100 %, included, five units at 1 and one at 3 hold the same.
GRID = {
    ("unit", "half_up"): [5, 2],
    ("unit", "half_even"): [0, 2],
    ("line", "half_up"): [3, 2],
    ("line", "half_even"): [2, 2],
    ("unit", "half_down"): [0, 1],
    ("line", "half_down"): [2, 1],
    ("document", "half_down"): [3, 1],
    ("document", "half_up"): [3, 1],
    ("document", "half_even"): [3, 1],
}


@pytest.mark.parametrize("currency", CURRENCIES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("includes_tax", "rate", "prices"), [(False, "0.1", (5, 15)), (True, "1", (1, 3))]
)
def test_tax_is_rounded_at_the_level_and_in_the_mode_of_the_rules(
    includes_tax: bool, rate: str, prices: tuple[int, int], level: str, mode: str, currency: str
) -> None:
    bought = cart(line("A", prices[0], 5), line("B", prices[1]), currency=currency)

    found = quoted(
        bought,
        tax=taxed(rate),
        includes_tax=includes_tax,
        rounding={"level": level, "mode": mode},
    )

    assert taxes(found) == GRID[level, mode]
    assert (found.rounding_level, found.rounding_mode) == (level, mode)


@pytest.mark.parametrize(("mode", "tax"), [("half_up", 3), ("half_even", 2), ("half_down", 2)])
def test_the_half_of_a_document_goes_as_that_of_a_line(mode: str, tax: int) -> None:
    bought = cart(line("A", 10), line("B", 15))

    found = quoted(bought, tax=taxed("0.1"), rounding={"level": "document", "mode": mode})

    assert found.tax == tax


@pytest.mark.parametrize(
    ("amount", "up", "even", "down"), [(3, 1, 0, 0), (9, 2, 2, 1), (15, 3, 2, 2), (14, 2, 2, 2)]
)
def test_a_half_inside_a_price_is_a_half(amount: int, up: int, even: int, down: int) -> None:
    """3 at 20 % holds 0.5, though a sixth has no end in decimals."""
    for mode, tax in (("half_up", up), ("half_even", even), ("half_down", down)):
        found = quoted(
            cart(line("A", amount)), tax=taxed("0.2"), includes_tax=True, rounding={"mode": mode}
        )

        assert taxes(found) == [tax]


@pytest.mark.parametrize(("mode", "discount"), [("half_up", 3), ("half_even", 2), ("half_down", 2)])
def test_discounts_are_rounded_in_the_same_mode(mode: str, discount: int) -> None:
    found = quoted(
        cart(line("A", 25)), promotions=[promotion("percent", percent=10)], rounding={"mode": mode}
    )

    assert discounts(found) == [discount]


@pytest.mark.parametrize(
    ("units", "unit_price", "off", "tax"),
    [
        (3, 4, "0.02", 1),  # 10 is 4, 3, 3: 0.6, 0.45, 0.45
        (3, 4, "0.01", 2),  # 11 is 4, 4, 3
        (4, 3, "0.02", 0),  # 10 is 3, 3, 2, 2
    ],
)
def test_the_units_of_a_discounted_line_are_its_amount_spread_equally(
    units: int, unit_price: int, off: str, tax: int
) -> None:
    discount = promotion("fixed", target="order", amount={"EUR": off})

    found = quoted(
        cart(line("A", unit_price, units)),
        promotions=[discount],
        tax=taxed("0.15"),
        rounding={"level": "unit"},
    )

    assert taxes(found) == [tax]


def test_shipping_is_one_unit() -> None:
    found = quoted(
        cart(line("A", 0, 7)),
        tax=taxed("0.1"),
        shipping=shipped("0.25"),
        rounding={"level": "unit"},
    )

    assert taxes(found) == [0, 3]


@pytest.mark.parametrize(
    ("currency", "minor"), [("JPY", 4), ("EUR", 400), ("KWD", 4000), ("CLF", 40000)]
)
def test_an_amount_in_the_rules_is_so_many_minor_units_of_the_orders_currency(
    currency: str, minor: int
) -> None:
    bought = cart(line("A", 100_000), currency=currency)
    off = promotion("fixed", amount={currency: 4})

    found = quoted(bought, promotions=[off], shipping=shipped({currency: "4"}))

    assert discounts(found) == [minor]
    assert found.shipping is not None
    assert found.shipping.price == minor
