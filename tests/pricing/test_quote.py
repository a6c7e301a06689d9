"""The quote: sums that hold, and the steps that explain them."""

from __future__ import annotations

import pytest
from pydantic_core import from_json, to_json

from pipeline.pricing.quote import QuotedLine, QuotedShipping
from tests.pricing.carts import cart, line, promotion, quoted, shipped, taxed

BOUGHT = cart(
    line("TEE", 2000, 2, origin="group vip from 2"),
    line("BOOK", 1000, tax_class="reduced"),
    coupons=("ten",),
)
SHOP = {
    "includes_tax": True,
    "tax": taxed("0.19", reduced="0.07"),
    "shipping": shipped("4.90"),
    "promotions": [
        promotion("percent", "ten", percent=10, lines={"skus": ["TEE"]}),
        promotion("fixed", "five", target="order", amount={"EUR": "5.00"}),
        promotion("fixed", "post", target="shipping", amount={"EUR": "0.90"}),
    ],
    "coupons": [{"code": "TEN", "promotions": ["ten"]}],
}


def test_a_quote_says_what_each_line_and_shipping_cost() -> None:
    found = quoted(BOUGHT, **SHOP)

    assert found.lines == (
        QuotedLine("TEE", 2, 2000, 791, "0.19", 2697, 512, 3209),
        QuotedLine("BOOK", 1, 1000, 109, "0.07", 833, 58, 891),
    )
    assert found.shipping == QuotedShipping("post", 490, 90, 336, 64, 400)
    assert (found.net, found.tax, found.total) == (3866, 634, 4500)
    assert (found.includes_tax, found.rounding_mode, found.rounding_level) == (
        True, "half_up", "line",
    )  # fmt: skip
    assert found.coupons == ("TEN",)


def test_its_steps_explain_it_in_the_order_of_calculation() -> None:
    vat = [{"name": "VAT", "rate": "0.19"}]

    assert list(quoted(BOUGHT, **SHOP).steps) == [
        {"step": "price", "line": 1, "sku": "TEE", "quantity": 2, "unit_price": 2000,
         "origin": "group vip from 2"},
        {"step": "price", "line": 2, "sku": "BOOK", "quantity": 1, "unit_price": 1000,
         "origin": "catalogue"},
        {"step": "promotion", "id": "ten", "name": "Ten", "target": "lines", "coupon": "TEN",
         "shares": {"1": 400}},
        {"step": "promotion", "id": "five", "name": "Five", "target": "order", "coupon": None,
         "shares": {"1": 391, "2": 109}},
        {"step": "shipping", "method": "post", "name": "Post", "price": 490},
        {"step": "promotion", "id": "post", "name": "Post", "target": "shipping", "coupon": None,
         "shares": {"shipping": 90}},
        {"step": "tax", "line": 1, "class": "standard", "zone": "all", "rates": vat, "base": 3209,
         "tax": 512},
        {"step": "tax", "line": 2, "class": "reduced", "zone": "all",
         "rates": [{"name": "VAT", "rate": "0.07"}], "base": 891, "tax": 58},
        {"step": "tax", "line": "shipping", "class": "standard", "zone": "all", "rates": vat,
         "base": 400, "tax": 64},
    ]  # fmt: skip


def test_steps_read_back_from_json_as_they_are() -> None:
    steps = list(quoted(BOUGHT, **SHOP).steps)

    assert from_json(to_json(steps)) == steps


def test_the_same_order_always_has_the_same_quote() -> None:
    assert quoted(BOUGHT, **SHOP) == quoted(BOUGHT, **SHOP)


@pytest.mark.parametrize("includes_tax", [False, True])
@pytest.mark.parametrize("level", ["unit", "line", "document"])
@pytest.mark.parametrize("tax", ["standard", "proportional"])
def test_net_and_tax_are_gross_and_lines_and_shipping_are_the_order(
    includes_tax: bool, level: str, tax: str
) -> None:
    shop = {
        **SHOP,
        "includes_tax": includes_tax,
        "rounding": {"level": level},
        "shipping": shipped("4.90", tax=tax),
    }

    found = quoted(BOUGHT, **shop)

    assert found.shipping is not None
    sold = [(x.net, x.tax, x.gross) for x in (*found.lines, found.shipping)]
    assert all(net + tax == gross for net, tax, gross in sold)
    assert (found.net, found.tax, found.total) == tuple(map(sum, zip(*sold, strict=True)))
    stated = [x.unit_price * x.quantity - x.discount for x in found.lines]
    assert stated == [x.gross if includes_tax else x.net for x in found.lines]


def test_a_gift_costs_nothing() -> None:
    assert quoted(cart(line("A", 0)), tax=taxed("0.19"), rounding={"level": "document"}).total == 0
