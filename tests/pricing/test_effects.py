"""What each effect takes off, on lines, on the order and on shipping; never more than there is."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.pricing.quote import Quote
from tests.pricing.carts import applied, cart, discounts, line, promotion, quoted, shipped

# Four lines: 2 × 10.00, 3 × 5.00, 1 × 0.99, 1 × 30.00.
MUG, PEN, CLIP, TEE = (
    line("MUG", 1000, 2, categories=["kitchen"]),
    line("PEN", 500, 3, categories=["office"]),
    line("CLIP", 99, 1, categories=["office"]),
    line("TEE", 3000, 1),
)
CART = cart(MUG, PEN, CLIP, TEE)
OFFICE = {"categories": ["office"]}


def of_lines(effect: str, **given: Any) -> list[int]:
    return discounts(quoted(CART, promotions=[promotion(effect, **given)]))


# --- On lines -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"percent": 10}, [200, 150, 10, 300]),
        ({"percent": 12.5}, [250, 188, 12, 375]),
        ({"percent": 100}, [2000, 1500, 99, 3000]),
        ({"percent": 10, "lines": OFFICE}, [0, 150, 10, 0]),
        ({"percent": 10, "cap": {"EUR": "6.61"}}, [200, 150, 10, 300]),
        ({"percent": 10, "cap": {"EUR": "6.60"}}, [200, 150, 10, 300]),  # just reached
        ({"percent": 10, "cap": {"EUR": "3.00"}}, [91, 68, 5, 136]),  # 300 by 200, 150, 10, 300
        ({"percent": 10, "cap": {"EUR": "0.02"}}, [1, 0, 0, 1]),
    ],
)
def test_percent_is_taken_off_each_line_and_its_cap_is_spread(
    given: dict[str, Any], expected: list[int]
) -> None:
    assert of_lines("percent", **given) == expected


@pytest.mark.parametrize(
    ("amount", "expected"), [("0.50", [100, 150, 50, 50]), ("6.00", [1200, 1500, 99, 600])]
)
def test_fixed_is_taken_off_each_unit_but_never_more_than_the_line(
    amount: str, expected: list[int]
) -> None:
    assert of_lines("fixed", amount={"EUR": amount}) == expected


@pytest.mark.parametrize(
    ("price", "expected"), [("8.00", [400, 0, 0, 2200]), ("0", [2000, 1500, 99, 3000])]
)
def test_fixed_price_takes_off_what_a_unit_costs_more(price: str, expected: list[int]) -> None:
    assert of_lines("fixed_price", price={"EUR": price}) == expected


QUANTITY_TIERS = [
    {"from": 8, "percent": 50},
    {"from": 4, "percent": 20},
    {"from": 3, "percent": 10},
]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({"skus": ["CLIP"]}, [0, 0, 0, 0]),  # 1 unit
        ({"skus": ["PEN"]}, [0, 150, 0, 0]),  # 3
        (OFFICE, [0, 300, 20, 0]),  # 4
        ({}, [400, 300, 20, 600]),  # 7
    ],
)
def test_the_highest_tier_counts_that_the_units_reach_together(
    selector: dict[str, Any], expected: list[int]
) -> None:
    assert of_lines("tiered_by_quantity", tiers=QUANTITY_TIERS, lines=selector) == expected


SPEND_TIERS = [
    {"from": {"EUR": "15.00"}, "percent": 10},
    {"from": {"EUR": "15.99"}, "percent": 20},
    {"from": {"EUR": "70.00"}, "percent": 50},
]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({"skus": ["CLIP"]}, [0, 0, 0, 0]),
        ({"skus": ["PEN"]}, [0, 150, 0, 0]),
        (OFFICE, [0, 300, 20, 0]),
        ({}, [400, 300, 20, 600]),
    ],
)
def test_the_highest_tier_counts_that_the_amounts_reach_together(
    selector: dict[str, Any], expected: list[int]
) -> None:
    assert of_lines("tiered_by_spend", tiers=SPEND_TIERS, lines=selector) == expected


def test_of_two_tiers_from_the_same_on_the_first_counts() -> None:
    tiers = [{"from": 1, "percent": 10}, {"from": 1, "percent": 90}]

    assert of_lines("tiered_by_quantity", tiers=tiers, lines={"skus": ["TEE"]}) == [0, 0, 0, 300]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # 7 units; the cheapest are CLIP 0.99, then three PENs at 5.00, then two MUGs.
        ({"buy": 6, "get": 1}, [0, 0, 99, 0]),
        ({"buy": 7, "get": 1}, [0, 0, 0, 0]),
        ({"buy": 1, "get": 1}, [0, 1000, 99, 0]),  # 3 units
        ({"buy": 1, "get": 1, "percent": 50}, [0, 500, 50, 0]),
        ({"buy": 1, "get": 6}, [2000, 1500, 99, 0]),
        ({"buy": 2, "get": 1, "lines": OFFICE}, [0, 0, 99, 0]),
        # With `of`, so many units bought make others cheaper.
        (
            {"buy": 3, "get": 1, "lines": {"skus": ["PEN"]}, "of": {"skus": ["TEE"]}},
            [0, 0, 0, 3000],
        ),
        (
            {"buy": 1, "get": 1, "lines": {"skus": ["PEN"]}, "of": {"skus": ["TEE"]}},
            [0, 0, 0, 3000],
        ),
        (
            {"buy": 2, "get": 1, "lines": {"skus": ["PEN"]}, "of": {"skus": ["MUG"]}},
            [1000, 0, 0, 0],
        ),
        ({"buy": 4, "get": 1, "lines": {"skus": ["PEN"]}, "of": {"skus": ["MUG"]}}, [0, 0, 0, 0]),
        ({"buy": 1, "get": 1, "lines": {"skus": ["PEN"]}, "of": {"skus": ["CUP"]}}, [0, 0, 0, 0]),
        ({"buy": 3, "get": 1, "lines": OFFICE, "of": OFFICE}, [0, 0, 99, 0]),  # on both sides
    ],
)
def test_buy_some_get_the_cheapest_cheaper(given: dict[str, Any], expected: list[int]) -> None:
    assert of_lines("buy_get", **given) == expected


def test_units_cost_what_their_line_costs_by_then() -> None:
    """1 of 3 units of a line of 10.00 − 0.01 is a third of 9.99."""
    promotions = [
        promotion("fixed_price", "a", price={"EUR": "3.33"}),
        promotion("buy_get", "b", buy=2, get=1),
    ]

    assert discounts(quoted(cart(line("A", 334, 3)), promotions=promotions)) == [3 + 333]


def test_part_of_a_line_is_rounded_once() -> None:
    """1 of 3 units, at 33 %, of a line that costs 10.00: 1.10."""
    promotions = [
        promotion("percent", "a", percent="0.2"),
        promotion("buy_get", "b", buy=2, get=1, percent=33),
    ]

    found = quoted(cart(line("A", 334, 3)), promotions=promotions)

    assert discounts(found) == [2 + 110]


def test_of_units_that_cost_the_same_those_of_the_first_sku_are_taken() -> None:
    bought = cart(line("B", 500, 2), line("A", 500, 2))

    assert discounts(quoted(bought, promotions=[promotion("buy_get", buy=3, get=1)])) == [0, 500]


@pytest.mark.parametrize(
    ("every", "expected"),
    [(2, [0, 1000, 99, 0]), (3, [0, 500, 99, 0]), (7, [0, 0, 99, 0]), (8, [0, 0, 0, 0])],
)
def test_for_every_so_many_units_the_cheapest_is_free(every: int, expected: list[int]) -> None:
    assert of_lines("cheapest_free", every=every) == expected


@pytest.mark.parametrize(
    ("units", "price", "expected"),
    [
        ({"MUG": 1, "PEN": 1}, "12.00", [400, 200, 0, 0]),  # twice: 30.00 − 24.00 by 20, 10
        ({"MUG": 2, "PEN": 3}, "28.00", [400, 300, 0, 0]),
        ({"PEN": 2}, "8.00", [0, 200, 0, 0]),  # one PEN is over
        ({"MUG": 1, "PEN": 1}, "15.00", [0, 0, 0, 0]),  # saves nothing
        ({"MUG": 1, "PEN": 1}, "20.00", [0, 0, 0, 0]),  # would cost more
        ({"MUG": 3, "PEN": 1}, "1.00", [0, 0, 0, 0]),  # not enough
        ({"MUG": 1, "CUP": 1}, "1.00", [0, 0, 0, 0]),  # not there
    ],
)
def test_a_bundle_costs_its_price_as_often_as_it_is_in_the_order(
    units: dict[str, int], price: str, expected: list[int]
) -> None:
    assert of_lines("bundle", units=units, price={"EUR": price}) == expected


def test_a_bundle_takes_the_units_of_a_sku_from_its_first_lines() -> None:
    bought = cart(line("A", 300, 2), line("A", 200, 2), line("B", 100, 3))

    found = quoted(
        bought, promotions=[promotion("bundle", units={"A": 1, "B": 1}, price={"EUR": 1})]
    )

    assert discounts(found) == [210, 280, 210]  # three times: 10.00 − 3.00 by 3.00, 4.00, 3.00


# --- On the order ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effect", "given", "expected"),
    [
        ("percent", {"percent": 10}, [200, 150, 10, 300]),
        ("percent", {"percent": "0.03"}, [1, 0, 0, 1]),  # 1.98 in all; by line: 0.6 0.45 0.03 0.9
        ("percent", {"percent": 10, "cap": {"EUR": "3.00"}}, [91, 68, 5, 136]),
        ("percent", {"percent": 10, "lines": OFFICE}, [0, 150, 10, 0]),
        ("fixed", {"amount": {"EUR": "10.00"}}, [303, 227, 15, 455]),
        ("fixed", {"amount": {"EUR": "100.00"}}, [2000, 1500, 99, 3000]),
        ("fixed", {"amount": {"EUR": "20.00"}, "lines": OFFICE}, [0, 1500, 99, 0]),
        ("tiered_by_quantity", {"tiers": QUANTITY_TIERS}, [400, 300, 20, 600]),
        ("tiered_by_quantity", {"tiers": QUANTITY_TIERS, "lines": {"skus": ["TEE"]}}, [0, 0, 0, 0]),
        ("tiered_by_spend", {"tiers": SPEND_TIERS, "lines": OFFICE}, [0, 300, 20, 0]),
    ],
)
def test_an_effect_on_the_order_is_one_amount_spread_over_its_lines(
    effect: str, given: dict[str, Any], expected: list[int]
) -> None:
    assert of_lines(effect, target="order", **given) == expected


# --- On shipping ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effect", "given", "discount"),
    [
        ("percent", {"percent": 50}, 245),
        ("percent", {"percent": 33}, 162),
        ("percent", {"percent": 50, "cap": {"EUR": 2}}, 200),
        ("fixed", {"amount": {"EUR": "1.00"}}, 100),
        ("fixed", {"amount": {"EUR": "5.00"}}, 490),
        ("fixed_price", {"price": {"EUR": "0.90"}}, 400),
        ("fixed_price", {"price": {"EUR": "4.91"}}, 0),
        ("free_shipping", {}, 490),
    ],
)
def test_an_effect_on_shipping_takes_off_no_more_than_it_costs(
    effect: str, given: dict[str, Any], discount: int
) -> None:
    off = promotion(effect, target="shipping", **given)

    found = quoted(CART, promotions=[off], shipping=shipped("4.90"))

    assert found.shipping is not None
    assert (found.shipping.price, found.shipping.discount) == (490, discount)
    assert discounts(found) == [0, 0, 0, 0]


# --- Whatever the effect --------------------------------------------------------------------------

EFFECTS: list[tuple[str, dict[str, Any]]] = [
    ("percent", {"percent": 10, "cap": {"EUR": 1}}),
    ("fixed", {"amount": {"EUR": 1}}),
    ("fixed_price", {"price": {"EUR": 1}}),
    ("tiered_by_quantity", {"tiers": [{"from": 1, "percent": 10}]}),
    ("tiered_by_spend", {"tiers": [{"from": {"EUR": 0}, "percent": 10}]}),
    ("buy_get", {"buy": 1, "get": 1}),
    ("cheapest_free", {"every": 2}),
    ("bundle", {"units": {"MUG": 1}, "price": {"EUR": 1}}),
]


def of_gifts(effect: str, given: dict[str, Any]) -> Quote:
    gifts = cart(line("MUG", 0, 2), line("PEN", 0))
    return quoted(gifts, promotions=[promotion(effect, **given)])


@pytest.mark.parametrize(("effect", "given"), EFFECTS)
def test_nothing_is_taken_off_what_costs_nothing(effect: str, given: dict[str, Any]) -> None:
    found = of_gifts(effect, given)

    assert (discounts(found), found.total, applied(found)) == ([0, 0], 0, [])


@pytest.mark.parametrize(("effect", "given"), EFFECTS)
def test_a_promotion_stands_back_where_an_amount_of_its_is_not_named_in_the_currency(
    effect: str, given: dict[str, Any]
) -> None:
    amounts = any("EUR" in str(value) for value in given.values())
    bought = cart(line("MUG", 100_000, 2), line("PEN", 100_000), currency="USD")

    found = quoted(bought, promotions=[promotion(effect, **given)])

    assert (applied(found) == []) is amounts
