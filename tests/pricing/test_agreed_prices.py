"""Prices that others agree on: cases from the tests and pages of other systems, each named."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.pricing.spread import largest_remainder
from tests.pricing.carts import (
    cart,
    discounts,
    line,
    promotion,
    quoted,
    shipped,
    taxed,
    taxes,
)


@pytest.mark.parametrize(
    ("weights", "total", "shares"),
    [
        ([123], 300, [300]),
        ([4000, 2000, 2000], 300, [150, 75, 75]),
        ([4300, 1400, 2300], 299, [161, 52, 86]),
        ([1000, 1000, 1000], 299, [100, 100, 99]),
        ([10, 20, 10, 30, 50, 20, 10, 40], 95, [5, 10, 5, 15, 25, 10, 5, 20]),
        ([10, 20, 10, 30, 50, 20, 10, 40], 93, [5, 10, 5, 15, 24, 10, 5, 19]),
        ([10, 0], 40, [40, 0]),
        ([0, 0], 10, [5, 5]),
        ([0, 0], 0, [0, 0]),
    ],
)
def test_spreading(weights: list[int], total: int, shares: list[int]) -> None:
    """Vendure: packages/core/src/service/helpers/order-calculator/prorate.spec.ts"""
    assert largest_remainder(total, weights) == shares


@pytest.mark.parametrize(
    ("prices", "expected"),
    [([106, 206, 306, 406], [11, 21, 31, 41]), ([104, 204, 304, 404], [10, 20, 30, 40])],
)
def test_10_percent_off_line_by_line(prices: list[int], expected: list[int]) -> None:
    """Saleor: saleor/discount/tests/test_rounding_issue.py"""
    bought = cart(*(line(f"SKU-{n}", each) for n, each in enumerate(prices)))

    found = quoted(bought, promotions=[promotion("percent", percent=10)])

    assert discounts(found) == expected


def test_10_percent_off_the_order_is_rounded_once() -> None:
    """Saleor: saleor/discount/tests/test_rounding_issue.py, the docstring's other column: 1.02 of
    10.24 in all. (Which lines bear it differs: theirs are rounded one by one.)"""
    bought = cart(*(line(f"SKU-{n}", each) for n, each in enumerate([106, 206, 306, 406])))

    found = quoted(bought, promotions=[promotion("percent", target="order", percent=10)])

    assert sum(discounts(found)) == 102


# --- Tax ------------------------------------------------------------------------------------------

GERMANY = taxed("0.19", reduced="0.07")


@pytest.mark.parametrize(
    ("unit_price", "tax_class", "shipping", "held"),
    [
        (2000, "reduced", "8.00", [131, 52]),  # a book
        (3000, "standard", "16.00", [479, 255]),  # a sweater
        (1000, "standard", "2.00", [160, 32]),  # a download
    ],
)
def test_what_german_prices_include(
    unit_price: int, tax_class: str, shipping: str, held: list[int]
) -> None:
    """Solidus: core/spec/models/spree/tax/taxation_integration_spec.rb, selling from Germany"""
    bought = cart(line("A", unit_price, tax_class=tax_class))

    found = quoted(
        bought, tax=GERMANY, includes_tax=True, shipping=shipped(shipping, tax=tax_class)
    )

    assert taxes(found) == held


@pytest.mark.parametrize(
    ("unit_price", "tax_class", "net"), [(2000, "reduced", 1869), (3000, "standard", 2521)]
)
def test_an_exempt_customer_pays_what_is_left_without_the_tax(
    unit_price: int, tax_class: str, net: int
) -> None:
    """Solidus: core/spec/models/spree/tax/taxation_integration_spec.rb, anywhere else in the world"""
    bought = cart(line("A", unit_price, tax_class=tax_class), customer_group="abroad")

    found = quoted(bought, tax={**GERMANY, "exempt_groups": ["abroad"]}, includes_tax=True)

    assert (found.net, found.tax, found.total) == (net, 0, net)


def test_rates_in_new_york_add() -> None:
    """Solidus: core/spec/models/spree/tax/taxation_integration_spec.rb, selling from New York"""
    rates = [{"name": "New York", "rate": "0.05"}, {"name": "Federal", "rate": "0.10"}]
    zone = {"name": "NY", "country": "US", "region": "NY", "rates": {"standard": rates}}
    bought = cart(line("BOOK", 2000), country="US", region="NY", currency="USD")

    found = quoted(bought, tax={"zones": [zone]}, shipping=shipped({"USD": "8.00"}))

    assert found.lines[0].gross == 2300
    assert found.shipping is not None
    assert (found.shipping.price, found.shipping.tax) == (800, 120)


@pytest.mark.parametrize(("level", "total"), [("line", 386), ("unit", 387)])
def test_three_times_1_08_at_19_percent(level: str, total: int) -> None:
    """commercetools: the page of TaxCalculationMode, LineItemLevel and UnitPriceLevel"""
    found = quoted(cart(line("A", 108, 3)), tax=taxed("0.19"), rounding={"level": level})

    assert found.total == total


@pytest.mark.parametrize(
    ("currency", "gross", "by_line", "by_document"),
    [("EUR", 10000, 7985, 7983), ("EUR", 9998, 7980, 7982), ("JPY", 9998, 7980, 7982)],
)
def test_five_gross_prices_by_line_and_by_document(
    currency: str, gross: int, by_line: int, by_document: int
) -> None:
    """pretix: src/tests/base/test_pricing_rounding.py, `line` and `sum_by_net_keep_gross`"""
    bought = cart(*(line(f"SKU-{n}", gross) for n in range(5)), currency=currency)

    for level, tax in (("line", by_line), ("document", by_document)):
        found = quoted(bought, tax=taxed("0.19"), includes_tax=True, rounding={"level": level})

        assert (found.net, found.tax, found.total) == (5 * gross - tax, tax, 5 * gross)


@pytest.mark.parametrize(
    ("currency", "net", "tax"), [("EUR", 8403, 7983), ("EUR", 8402, 7982), ("JPY", 8402, 7982)]
)
def test_five_net_prices_by_document(currency: str, net: int, tax: int) -> None:
    """pretix: src/tests/base/test_pricing_rounding.py, `sum_by_net`"""
    bought = cart(*(line(f"SKU-{n}", net) for n in range(5)), currency=currency)

    found = quoted(bought, tax=taxed("0.19"), rounding={"level": "document"})

    assert (found.net, found.tax, found.total) == (5 * net, tax, 5 * net + tax)


@pytest.mark.parametrize(
    ("includes_tax", "amounts"), [(True, (9091, 909, 10000)), (False, (10000, 1000, 11000))]
)
def test_100_at_10_percent(includes_tax: bool, amounts: tuple[int, int, int]) -> None:
    """pretix: src/tests/base/test_taxrules.py, from gross and from net price"""
    found = quoted(cart(line("A", 10000)), tax=taxed("0.1"), includes_tax=includes_tax)

    assert (found.net, found.tax, found.total) == amounts


@pytest.mark.parametrize(
    ("country", "vat_id", "total"),
    [
        ("AT", None, 11000),  # a private person
        ("DE", "DE123456", 11000),  # a business at home
        ("AT", "AT12346", 10000),  # a business elsewhere in the EU
    ],
)
def test_reverse_charge(country: str, vat_id: str | None, total: int) -> None:
    """pretix: src/tests/base/test_taxrules.py, test_reverse_charge_…"""
    bought = cart(line("A", 10000), country=country, vat_id=vat_id)

    found = quoted(bought, tax={**taxed("0.1"), "home": "DE"})

    assert found.total == total


@pytest.mark.parametrize(("fee", "parts"), [("2.26", [107, 119]), ("22.60", [1070, 1190])])
def test_a_fee_is_split_over_the_rates_of_what_it_is_for(fee: str, parts: list[int]) -> None:
    """pretix: src/tests/base/test_taxrules.py, test_split_fees"""
    bought = cart(line("A", 1190), line("B", 1070, tax_class="reduced"))

    found = quoted(
        bought, tax=GERMANY, includes_tax=True, shipping=shipped(fee, tax="proportional")
    )

    split = [step["base"] for step in found.steps if step.get("line") == "shipping"]
    assert split == parts


# --- Promotions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("includes_tax", "after_item", "after_order"),
    [(False, (140292, 168350), (126263, 151516)), (True, (116910, 140292), (105219, 126263))],
)
def test_10_percent_off_the_item_and_10_percent_off_the_order(
    includes_tax: bool, after_item: tuple[int, int], after_order: tuple[int, int]
) -> None:
    """Vendure: packages/core/src/service/helpers/order-calculator/order-calculator.spec.ts,
    item-level & order-level percentage discounts"""
    promotions = [
        promotion("percent", "item", percent=10),
        promotion("percent", "order", target="order", percent=10),
    ]
    bought, shop = cart(line("A", 155880)), {"tax": taxed("0.2"), "includes_tax": includes_tax}

    item = quoted(bought, promotions=promotions[:1], **shop)
    both = quoted(bought, promotions=promotions, **shop)

    assert (item.net, item.total) == after_item
    assert (both.net, both.total) == after_order


@pytest.mark.parametrize("includes_tax", [False, True])
def test_mixed_discounts_with_several_tax_rates(includes_tax: bool) -> None:
    """Vendure: packages/core/src/service/helpers/order-calculator/order-calculator.spec.ts,
    item-level & order-level mixed discounts with multiple tax rates. (What is left to pay before
    tax, or with the tax it includes; their tax itself is rounded on unit prices after a spread that
    is not.)"""
    bought = cart(
        line("A", 1000, 2),
        line("B", 3499, tax_class="reduced"),
        line("C", 255, 4, tax_class="reduced"),
    )
    promotions = [
        promotion("percent", "item", percent=15, lines={"skus": ["A"]}),
        promotion("fixed", "order", target="order", amount={"EUR": 5}),
    ]

    found = quoted(
        bought, promotions=promotions, tax=taxed("0.2", reduced="0.1"), includes_tax=includes_tax
    )

    assert (found.total if includes_tax else found.net) == 5719


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        ([12000] * 2, [0, 0]),
        ([12000] * 3, [12000, 0, 0]),
        ([12000] * 5, [12000, 0, 0, 0, 0]),
        ([12000] * 6, [12000, 12000, 0, 0, 0, 0]),
        ([100, 200, 300, 400, 500, 600], [100, 200, 0, 0, 0, 0]),
    ],
)
def test_of_three_the_cheapest_is_free(prices: list[int], expected: list[int]) -> None:
    """pretix: src/tests/base/test_pricing_discount.py, mixed_min_count_one_free"""
    bought = cart(*(line(f"SKU-{n}", each) for n, each in enumerate(prices)))

    found = quoted(bought, promotions=[promotion("cheapest_free", every=3)])

    assert discounts(found) == expected


@pytest.mark.parametrize(
    ("prices", "selector", "expected"),
    [
        ([2000, 3000, 10000], {}, [200, 300, 1000]),
        ([2000, 3000, 10000], {"skus": ["SKU-0"]}, [1500, 0, 0]),
    ],
)
def test_15_off_spread_over_an_order(
    prices: list[int], selector: dict[str, Any], expected: list[int]
) -> None:
    """Solidus: promotions/spec/models/solidus_promotions/calculators/distributed_amount_spec.rb"""
    bought = cart(*(line(f"SKU-{n}", each) for n, each in enumerate(prices)))
    off = promotion("fixed", target="order", amount={"EUR": 15}, lines=selector)

    assert discounts(quoted(bought, promotions=[off])) == expected


@pytest.mark.parametrize(
    ("prices", "total"), [([12000, 23000, 30000], 5000), ([1200, 2300, 1000], 675)]
)
def test_15_percent_up_to_50(prices: list[int], total: int) -> None:
    """Solidus: promotions/spec/models/solidus_promotions/calculators/percent_with_cap_spec.rb"""
    bought = cart(*(line(f"SKU-{n}", each) for n, each in enumerate(prices)))
    off = promotion("percent", percent=15, cap={"EUR": 50})

    assert sum(discounts(quoted(bought, promotions=[off]))) == total


@pytest.mark.parametrize(("lines", "each"), [(1, 100), (2, 150), (3, 200)])
def test_the_more_is_spent_the_more_is_off(lines: int, each: int) -> None:
    """Solidus: promotions/spec/models/solidus_promotions/calculators/tiered_percent_spec.rb"""
    tiers = [
        {"from": {"EUR": 0}, "percent": 10},
        {"from": {"EUR": 20}, "percent": 15},
        {"from": {"EUR": 30}, "percent": 20},
    ]
    bought = cart(*(line(f"SKU-{n}", 1000) for n in range(lines)))

    found = quoted(bought, promotions=[promotion("tiered_by_spend", tiers=tiers)])

    assert discounts(found) == [each] * lines
