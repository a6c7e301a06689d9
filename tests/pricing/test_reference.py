"""The reference itself: prices that others agree on, and examples worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline.pricing.cart import Cart, CartLine
from pipeline.pricing.quote import NotPriced, Quote
from pipeline.pricing.rules import Rules
from tests.pricing import reference

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)  # a Monday
A, B, C = "A", "B", "C"


def cart(*lines: tuple[str, int, int], **changes: Any) -> Cart:
    """(SKU, quantity, unit price) lines in EUR, to Germany."""
    given: dict[str, Any] = {"currency": "EUR", "at": NOW, "source": "web", "country": "DE"}
    return Cart(lines=tuple(CartLine(*line) for line in lines), **{**given, **changes})


def price(given: Cart, **rules: Any) -> Quote:
    found = reference.price(given, Rules.model_validate(rules))
    assert isinstance(found, Quote), found
    return found


def taxed(*rates: str, **classes: str) -> dict[str, Any]:
    """One zone for everywhere: these rates for standard, and one for each further class."""
    by_class = {"standard": rates, **{name: [rate] for name, rate in classes.items()}}
    return {
        "zones": [
            {
                "name": "all",
                "country": "*",
                "rates": {
                    name: [{"name": f"part {n}", "rate": rate} for n, rate in enumerate(of_class)]
                    for name, of_class in by_class.items()
                },
            }
        ]
    }


def promotion(target: str, kind: str, **effect: Any) -> dict[str, Any]:
    return {"id": kind, "name": kind, "target": target, "effect": {"type": kind, **effect}}


def off(given: Cart, *promotions: dict[str, Any], **rules: Any) -> list[int]:
    """The lines' discounts."""
    return [line.discount for line in price(given, promotions=promotions, **rules).lines]


# --- Prices others agree on -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "weights", "shares"),
    [
        (299, [4300, 1400, 2300], [161, 52, 86]),
        (299, [1, 1, 1], [100, 100, 99]),
        (10, [0, 0], [5, 5]),
        (3, [1, 4, 4], [1, 1, 1]),
    ],
)
def test_an_amount_is_spread_by_largest_remainder(
    amount: int, weights: list[int], shares: list[int]
) -> None:
    assert reference.spread(amount, weights) == shares


@pytest.mark.parametrize(("level", "total"), [("unit", 387), ("line", 386), ("document", 386)])
def test_three_times_1_08_at_19_percent(level: str, total: int) -> None:
    assert price(cart((A, 3, 108)), tax=taxed("0.19"), rounding={"level": level}).total == total


@pytest.mark.parametrize(("gross", "rate", "tax"), [(3000, "0.19", 479), (2000, "0.07", 131)])
def test_a_german_price_holds_its_tax(gross: int, rate: str, tax: int) -> None:
    found = price(cart((A, 1, gross)), tax=taxed(rate), includes_tax=True)

    assert (found.net, found.tax, found.total) == (gross - tax, tax, gross)


def test_rates_add_and_do_not_compound() -> None:
    assert price(cart((A, 1, 2000)), tax=taxed("0.05", "0.1")).total == 2300


def test_ten_percent_off_line_by_line() -> None:
    given = cart((A, 1, 106), (B, 1, 206), (C, 1, 306), ("D", 1, 406))

    assert off(given, promotion("lines", "percent", percent=10)) == [11, 21, 31, 41]


def test_ten_percent_off_the_item_then_ten_off_the_order() -> None:
    item, order = (
        promotion("lines", "percent", percent=10),
        promotion("order", "percent", percent=10),
    )
    given, tax = cart((A, 1, 155880)), taxed("0.2")

    once = price(given, promotions=[item], tax=tax)
    twice = price(given, promotions=[item, {**order, "id": "order"}], tax=tax)

    assert (once.net, once.total) == (140292, 168350)
    assert (twice.net, twice.total) == (126263, 151516)


def test_shipping_8_00_at_7_percent_holds_0_52() -> None:
    post = {"name": "Post", "tax": "reduced", "rates": [{"price": {"EUR": "8"}}]}
    rules: dict[str, Any] = {"shipping": {"default": "p", "methods": {"p": post}}}

    found = price(cart((A, 1, 0)), tax=taxed("0.19", reduced="0.07"), includes_tax=True, **rules)

    assert found.shipping is not None
    assert (found.shipping.net, found.shipping.tax, found.shipping.gross) == (748, 52, 800)


# --- Effects, by hand -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effect", "discounts"),
    [
        # Three at 10.00 and two at 4.05.
        (promotion("lines", "percent", percent=10), [300, 81]),
        (promotion("lines", "percent", percent=10, cap={"EUR": "1.00"}), [79, 21]),
        (promotion("lines", "fixed", amount={"EUR": "4.10"}), [1230, 810]),
        (promotion("lines", "fixed_price", price={"EUR": "5.00"}), [1500, 0]),
        (
            promotion(
                "lines",
                "tiered_by_quantity",
                tiers=[{"from": 5, "percent": 20}, {"from": 2, "percent": 5}],
            ),
            [600, 162],
        ),
        (
            promotion(
                "lines",
                "tiered_by_spend",
                tiers=[
                    {"from": {"EUR": "38.10"}, "percent": 1},
                    {"from": {"EUR": "38.11"}, "percent": 9},
                ],
            ),
            [30, 8],
        ),
        (promotion("lines", "buy_get", buy=1, get=1), [0, 810]),
        (promotion("lines", "buy_get", buy=2, get=3, percent=50), [500, 405]),
        (promotion("lines", "buy_get", buy=2, get=2, of={"skus": [A]}), [3000, 0]),
        (promotion("lines", "buy_get", buy=5, get=2, percent=50, of={"skus": [A]}), [1000, 0]),
        (promotion("lines", "cheapest_free", every=5), [0, 405]),
        (promotion("lines", "bundle", units={A: 1, B: 1}, price={"EUR": "10.00"}), [577, 233]),
        (promotion("lines", "bundle", units={A: 4}, price={"EUR": "0"}), [0, 0]),
        (promotion("order", "percent", percent=50), [1500, 405]),
        (promotion("order", "percent", percent=50, cap={"EUR": "1.00"}), [79, 21]),
        (promotion("order", "fixed", amount={"EUR": "99"}), [3000, 810]),
        (promotion("order", "tiered_by_quantity", tiers=[{"from": 6, "percent": 50}]), [0, 0]),
    ],
    ids=lambda value: value["effect"]["type"] if isinstance(value, dict) else "",
)
def test_effects(effect: dict[str, Any], discounts: list[int]) -> None:
    assert off(cart((A, 3, 1000), (B, 2, 405)), effect) == discounts


def test_conditions_are_tested_again_after_every_discount() -> None:
    ten = promotion("lines", "percent", percent=10)
    more = {
        **promotion("lines", "fixed", amount={"EUR": "1"}),
        "when": {"min_spend": {"EUR": "9.01"}},
    }

    assert off(cart((A, 1, 1000)), more) == [100]
    assert off(cart((A, 1, 1000)), {**ten, "priority": 1}, more) == [100]
    assert off(cart((A, 1, 1001)), {**ten, "priority": 1}, more) == [200]


def test_a_group_stands_where_its_first_member_stands_and_the_best_is_applied() -> None:
    late = {**promotion("lines", "percent", percent=50), "group": "g", "priority": 9}
    early = {**promotion("lines", "fixed", amount={"EUR": "1"}), "group": "g", "priority": 1}
    between = {**promotion("lines", "fixed_price", price={"EUR": "4"}), "priority": 5}

    assert off(cart((A, 1, 1000)), late, between, early) == [600]


# --- Tax, by hand ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "taxes", "shipping_tax"),
    [("line", [20, 10], 3), ("unit", [20, 10], 3), ("document", [20, 10], 2)],
)
def test_shipping_takes_its_part_of_the_documents_tax(
    level: str, taxes: list[int], shipping_tax: int
) -> None:
    """19.5 + 9.5 + 2.5 are 31.5, so 32: their shares of it are 19.81, 9.65 and 2.54."""
    post = {"name": "Post", "rates": [{"price": {"EUR": "0.25"}}]}

    found = price(
        cart((A, 1, 195), (B, 1, 95)),
        tax=taxed("0.1"),
        rounding={"level": level},
        shipping={"default": "p", "methods": {"p": post}},
    )

    assert found.shipping is not None
    assert ([line.tax for line in found.lines], found.shipping.tax) == (taxes, shipping_tax)


@pytest.mark.parametrize(
    ("vat_id", "country", "exempt"),
    [
        ("FR40303265045", "FR", True),
        ("EL094259216", "FR", True),
        ("DE136695976", "FR", False),
        ("FR40303265045", "DE", False),
        ("FR40303265045", "US", False),
        ("GB980780684", "FR", False),
        (None, "FR", False),
    ],
)
def test_reverse_charge(vat_id: str | None, country: str, exempt: bool) -> None:
    given = cart((A, 1, 1190), vat_id=vat_id, country=country)

    found = price(given, tax={**taxed("0.19"), "home": "DE"}, includes_tax=True)

    assert (found.net, found.tax, found.total) == ((1000, 0, 1000) if exempt else (1000, 190, 1190))


def test_a_missing_rate_holds_the_order() -> None:
    rules = Rules.model_validate({"tax": taxed("0.19")})
    given = Cart("EUR", NOW, "web", (CartLine(A, 1, 1, tax_class="reduced"),), "DE")

    assert reference.price(given, rules) == NotPriced("no_tax_rate", {}, final=False)
