"""Which promotions are applied, and in which order: targets, priorities, groups, `last`."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from pipeline.pricing.basket import Basket
from pipeline.pricing.cart import Cart
from tests.pricing.carts import (
    applied,
    cart,
    explained,
    line,
    promotion,
    quoted,
    ruled,
    shipped,
    taxed,
)

MUG, PEN = line("MUG", 1000), line("PEN", 500, 2)
CART = cart(MUG, PEN)


def ids(*promotions: dict[str, Any], bought: Cart = CART, **rules: Any) -> list[str]:
    """Which are applied, in order; the same whatever the order in which they are written."""
    found = {
        tuple(applied(quoted(bought, promotions=each, shipping=shipped("4.90"), **rules)))
        for each in permutations(promotions)
    }
    assert len(found) == 1
    return list(found.pop())


def percent(id: str, percent: float = 10, **given: Any) -> dict[str, Any]:
    return promotion("percent", id, percent=percent, **given)


def test_lines_come_first_then_the_order_then_shipping() -> None:
    assert ids(
        percent("a", target="shipping"), percent("b", target="order"), percent("c", target="lines")
    ) == ["c", "b", "a"]


def test_within_a_target_the_lower_priority_comes_first_ties_by_id() -> None:
    assert ids(percent("a"), percent("c", priority=7), percent("b")) == ["c", "a", "b"]


def test_each_is_computed_on_what_the_ones_before_have_left() -> None:
    found = quoted(CART, promotions=[percent("a", 50), percent("b", 50), percent("c", 50)])

    assert [step["shares"] for step in explained(found, "promotion")] == [
        {"1": 500, "2": 500},
        {"1": 250, "2": 250},
        {"1": 125, "2": 125},
    ]


def test_conditions_are_tested_again_after_each() -> None:
    spend = {"min_spend": {"EUR": "20.00"}}

    assert ids(percent("a", when=spend), percent("b", when=spend)) == ["a"]
    assert ids(percent("a", when=spend), percent("b", target="order", when=spend)) == ["a"]
    assert ids(percent("a"), percent("b", target="shipping", when=spend)) == ["a"]


def test_shippings_conditions_see_the_selected_lines() -> None:
    spend = {"min_spend": {"EUR": "10.00"}}

    free = promotion("free_shipping", target="shipping", when=spend, lines={"skus": ["MUG"]})
    too_much = promotion(
        "free_shipping", target="shipping", when={"min_quantity": 2}, lines={"skus": ["MUG"]}
    )

    assert ids(free) == ["p"]
    assert ids(too_much) == []


def test_shippings_promotions_wait_for_something_to_be_shipped() -> None:
    free = promotion("free_shipping", target="shipping")

    found = quoted(CART, promotions=[free])

    assert (found.shipping, applied(found)) == (None, [])


# --- Groups ---------------------------------------------------------------------------------------


def test_of_a_group_the_largest_discount_is_applied_and_no_other() -> None:
    assert ids(
        percent("a", 10, group="g"), percent("b", 30, group="g"), percent("c", 20, group="g")
    ) == ["b"]


def test_of_equal_discounts_the_first_is_applied() -> None:
    assert ids(
        percent("b", group="g"), percent("c", group="g"), percent("a", group="g", priority=101)
    ) == ["b"]


def test_a_member_whose_conditions_do_not_hold_does_not_compete() -> None:
    far = percent("a", 90, group="g", when={"min_quantity": 99})

    assert ids(far, percent("b", 10, group="g")) == ["b"]


def test_the_largest_is_the_largest_by_now() -> None:
    """50 % of 20.00 is more than 3.00 off each of three units, until 60 % is off."""
    percentage = percent("a", 50, group="g", priority=2)
    fixed = promotion("fixed", "b", amount={"EUR": "3.00"}, group="g", priority=2)

    assert ids(percentage, fixed) == ["a"]
    assert ids(percentage, fixed, percent("half", 60, priority=1)) == ["half", "b"]


def test_a_group_stands_where_its_first_member_stands() -> None:
    early, late = percent("a", 1, group="g", priority=1), percent("b", 90, group="g", priority=9)

    assert ids(early, late, percent("c", priority=5)) == ["b", "c"]


def test_a_group_stands_there_though_that_member_does_not_apply() -> None:
    early = percent("a", 1, group="g", priority=1, when={"sources": ["elsewhere"]})

    assert ids(early, percent("b", 90, group="g", priority=9), percent("c", priority=5)) == [
        "b",
        "c",
    ]


def test_members_of_other_targets_are_another_group() -> None:
    assert ids(percent("a", group="g"), percent("b", group="g", target="order")) == ["a", "b"]
    assert ids(
        percent("a", group="g"),
        percent("b", group="g", target="order", priority=9),
        percent("c", target="order", priority=5),
    ) == ["a", "c", "b"]


def test_other_groups_and_promotions_in_none_go_on() -> None:
    assert ids(percent("a", group="g"), percent("b", group="h"), percent("c"), percent("d")) == [
        "a", "b", "c", "d",
    ]  # fmt: skip


# --- Last -----------------------------------------------------------------------------------------


def test_after_the_last_no_further_one_of_its_target_is_applied() -> None:
    assert ids(percent("a", last=True), percent("b"), percent("c", target="order")) == ["a", "c"]


def test_what_comes_before_the_last_was_applied() -> None:
    assert ids(percent("b", last=True), percent("a")) == ["a", "b"]


@pytest.mark.parametrize(
    "last",
    [
        promotion("fixed_price", "a", price={"EUR": "99.00"}, last=True),  # takes off nothing
        percent("a", last=True, when={"min_quantity": 99}),
        percent("a", 1, last=True, group="g", lines={"skus": ["MUG"]}),  # b takes off more
    ],
)
def test_one_that_is_not_applied_ends_nothing(last: dict[str, Any]) -> None:
    group = {"group": "g"} if "group" in last else {}

    assert ids(last, percent("b", 2, **group), percent("c")) == ["b", "c"]


# --- Which could apply ----------------------------------------------------------------------------

# One promotion for each way in which it can be found: by a line's SKU or category, by what its
# condition names, by who buys where; and those that may apply to anyone.
FINDABLE = [
    percent("any"),
    percent("but", lines={"except_skus": ["PEN"]}),
    percent("by-category", lines={"categories": ["kitchen"]}),
    percent("by-sku", lines={"skus": ["MUG", "CUP"]}),
    promotion("bundle", "bundle", units={"MUG": 1, "PEN": 1}, price={"EUR": 1}),
    percent("if-category", when={"categories": ["kitchen"]}),
    percent("if-group", when={"customer_groups": ["vip"]}),
    percent("if-sku", when={"skus": ["MUG"]}),
    percent("if-source", when={"sources": ["shop"]}),
]


@pytest.mark.parametrize(
    ("bought", "expected"),
    [
        (
            cart(line("MUG", 10_000, categories=["kitchen"]), PEN, customer_group="vip"),
            {"any", "but", "by-category", "by-sku", "bundle", "if-category", "if-group", "if-sku",
             "if-source"},
        ),
        (cart(line("CUP", 10_000), source="web"), {"any", "but", "by-sku"}),
        (cart(line("PAN", 10_000, categories=["kitchen"]), source="web"),
         {"any", "but", "by-category", "if-category"}),
        (cart(PEN), {"any", "if-source"}),
    ],
)  # fmt: skip
def test_whatever_could_apply_is_found(bought: Cart, expected: set[str]) -> None:
    assert set(applied(quoted(bought, promotions=FINDABLE))) == expected


@pytest.mark.parametrize("elsewhere", [0, 200])
def test_what_could_not_apply_is_not_looked_at(elsewhere: int) -> None:
    """A quote costs what could apply to it, however many promotions there are."""
    others = [percent(f"other-{n}", lines={"skus": [f"SKU-{n}"]}) for n in range(elsewhere)]
    waiting = [percent(f"waiting-{n}") for n in range(elsewhere)]
    rules = ruled(
        promotions=[*others, *waiting, percent("a"), percent("b", lines={"skus": ["PEN"]})],
        coupons=[{"code": f"C{n}", "promotions": [f"waiting-{n}"]} for n in range(elsewhere)],
    )

    found = rules.offers("EUR").promotions.candidates(Basket.of(CART), ["C7"][:elsewhere])

    expected = ["a", "b", "waiting-7"] if elsewhere else ["a", "b"]
    assert [each.id for each in found.lines] == expected


def test_an_order_as_sold_gets_no_promotions() -> None:
    promotions = [percent("a"), percent("b", target="order"), percent("c", target="shipping")]
    bought = cart(MUG, as_sold=True, shipping_method="post")

    found = quoted(bought, promotions=promotions, shipping=shipped("4.90"))

    assert (applied(found), found.total) == ([], 1490)


def test_the_order_of_lines_changes_nothing() -> None:
    lines = [line("A", 333, 3), line("B", 333, 2), line("C", 100, 7), line("A", 250), line("D", 1)]
    shop = {
        "promotions": [
            percent("a", 7, cap={"EUR": "0.97"}),
            promotion("cheapest_free", "b", every=4),
            promotion("fixed", "c", target="order", amount={"EUR": "1.01"}),
            promotion("bundle", "d", units={"A": 2, "C": 2}, price={"EUR": 1}),
        ],
        "tax": taxed("0.19"),
        "rounding": {"level": "document"},
        "shipping": shipped("4.90", tax="proportional"),
    }
    straight = quoted(cart(*lines), **shop)

    for order in permutations(range(len(lines))):
        found = quoted(cart(*(lines[i] for i in order)), **shop)

        assert list(found.lines) == [straight.lines[i] for i in order]
        assert (found.total, found.shipping) == (straight.total, straight.shipping)
