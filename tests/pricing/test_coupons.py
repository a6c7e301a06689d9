"""What becomes of a coupon: every way in which it is good, or the order is rejected for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline.pricing.cart import Cart, CartLine
from pipeline.pricing.engine import price
from pipeline.pricing.quote import NotPriced, Quote
from pipeline.pricing.rules import Rules
from pipeline.pricing.ruleset import RuleSet
from tests.pricing import reference

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)  # a Monday
SAVE = {"code": "save10", "promotions": ["ten"]}
TEN = {"id": "ten", "name": "Ten", "effect": {"type": "percent", "percent": "10"}}
TWENTY = {"id": "twenty", "name": "Twenty", "effect": {"type": "percent", "percent": "20"}}
POST = {"methods": {"post": {"name": "Post", "rates": [{"price": {"EUR": "4.90"}}]}}}
FREE_POST = {
    "id": "free", "name": "Free", "target": "shipping", "effect": {"type": "free_shipping"},
}  # fmt: skip


def cart(*codes: str, **changes: Any) -> Cart:
    """Two cups at 10.00."""
    return replace(
        Cart("EUR", NOW, "web", (CartLine("CUP", 2, 1000),), "DE", coupons=codes), **changes
    )


def priced(given: Cart, **rules: Any) -> Quote | NotPriced:
    """By the engine; the reference must say the same."""
    valid = Rules.model_validate(rules)
    found, expected = price(given, RuleSet(valid)), reference.price(given, valid)
    if isinstance(found, Quote):
        assert replace(found, steps=()) == expected
    else:
        assert replace(found, detail={}) == expected
    return found


def used(given: Cart, **rules: Any) -> tuple[int, tuple[str, ...]]:
    """The total, and the codes that were used."""
    found = priced(given, **rules)
    assert isinstance(found, Quote), found
    return found.total, found.coupons


def refused(given: Cart, **rules: Any) -> str:
    found = priced(given, **rules)
    assert isinstance(found, NotPriced), found
    assert found.final is not given.as_sold
    if found.reason.startswith("coupon_"):
        assert found.detail["coupon"] in given.coupons
    return found.reason


# --- Used -----------------------------------------------------------------------------------------


def test_a_coupon_lets_its_promotion_apply() -> None:
    assert used(cart("SAVE10"), promotions=[TEN], coupons=[SAVE]) == (1800, ("SAVE10",))


def test_without_the_coupon_its_promotion_does_not_apply() -> None:
    assert used(cart(), promotions=[TEN], coupons=[SAVE]) == (2000, ())


def test_a_promotion_that_no_coupon_names_needs_none() -> None:
    assert used(cart(), promotions=[TEN, TWENTY], coupons=[SAVE]) == (1600, ())


@pytest.mark.parametrize("code", ["save10", "SAVE10", "Save10"])
def test_case_does_not_matter(code: str) -> None:
    assert used(cart(code), promotions=[TEN], coupons=[SAVE]) == (1800, ("SAVE10",))


def test_a_code_given_twice_counts_once() -> None:
    given = cart("SAVE10", "save10")

    assert used(given, promotions=[TEN], coupons=[SAVE]) == (1800, ("SAVE10",))


def test_two_coupons_of_one_promotion_are_both_used_and_it_applies_once() -> None:
    also = {"code": "ALSO", "promotions": ["ten"]}

    found = used(cart("SAVE10", "ALSO"), promotions=[TEN], coupons=[SAVE, also])

    assert found == (1800, ("SAVE10", "ALSO"))


def test_two_coupons_of_two_promotions_both_count() -> None:
    more = {"code": "MORE", "promotions": ["twenty"]}

    found = used(cart("MORE", "SAVE10"), promotions=[TEN, TWENTY], coupons=[SAVE, more])

    assert found == (1440, ("MORE", "SAVE10"))


def test_one_of_its_promotions_is_enough() -> None:
    both = {"code": "BOTH", "promotions": ["ten", "free"]}

    assert used(cart("BOTH"), promotions=[TEN, FREE_POST], coupons=[both]) == (1800, ("BOTH",))


def test_a_coupon_may_be_for_shipping() -> None:
    send = {"code": "SEND", "promotions": ["free"]}
    given = cart("SEND", shipping_method="post")

    assert used(given, promotions=[FREE_POST], coupons=[send], shipping=POST) == (2000, ("SEND",))


def test_it_is_valid_from_its_first_moment() -> None:
    dated = {**SAVE, "valid_from": NOW.isoformat(), "valid_until": "2026-11-24T00:00:00"}

    assert used(cart("SAVE10"), promotions=[TEN], coupons=[dated]) == (1800, ("SAVE10",))


def test_its_validity_is_meant_in_the_time_zone_of_the_rules() -> None:
    dated = {**SAVE, "valid_until": "2026-11-23T12:30:00"}  # in Berlin: an hour before, by UTC

    assert refused(cart("SAVE10"), promotions=[TEN], coupons=[dated], timezone="Europe/Berlin")
    assert used(cart("SAVE10"), promotions=[TEN], coupons=[dated]) == (1800, ("SAVE10",))


# --- Lost in its group ----------------------------------------------------------------------------


def grouped(*promotions: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**promotion, "group": "sale"} for promotion in promotions]


def test_one_that_loses_to_a_better_of_its_group_is_good_but_not_used() -> None:
    found = used(cart("SAVE10"), promotions=grouped(TEN, TWENTY), coupons=[SAVE])

    assert found == (1600, ())


def test_the_one_that_wins_in_its_group_is_used() -> None:
    twenty = {"code": "TWENTY", "promotions": ["twenty"]}

    found = used(cart("TWENTY"), promotions=grouped(TEN, TWENTY), coupons=[twenty])

    assert found == (1600, ("TWENTY",))


def test_of_two_coupons_that_compete_only_the_better_is_used() -> None:
    twenty = {"code": "TWENTY", "promotions": ["twenty"]}
    given = cart("SAVE10", "TWENTY")

    found = used(given, promotions=grouped(TEN, TWENTY), coupons=[SAVE, twenty])

    assert found == (1600, ("TWENTY",))


def test_of_equals_in_a_group_the_first_is_used() -> None:
    also_ten = {**TEN, "id": "also", "name": "Also ten"}

    assert used(cart("SAVE10"), promotions=grouped(TEN, also_ten), coupons=[SAVE]) == (1800, ())


def test_one_that_takes_nothing_off_has_not_lost_but_is_of_no_use() -> None:
    third_free = {**TEN, "effect": {"type": "buy_get", "buy": 2, "get": 1}}

    found = refused(cart("SAVE10"), promotions=grouped(third_free, TWENTY), coupons=[SAVE])

    assert found == "coupon_not_applicable"


@pytest.mark.parametrize("price", ["0", "4.90"])
def test_free_shipping_is_of_use_where_shipping_is_free_already(price: str) -> None:
    """By the rates or by another promotion: its customer pays what was promised."""
    methods = {"methods": {"post": {"name": "Post", "rates": [{"price": {"EUR": price}}]}}}
    everyone = {**FREE_POST, "id": "everyone", "priority": 1}
    save = {**SAVE, "promotions": ["free"]}

    given = cart("SAVE10", shipping_method="post")
    found = used(given, promotions=[everyone, FREE_POST], coupons=[save], shipping=methods)

    assert found == (2000, ())


# --- Rejected -------------------------------------------------------------------------------------


def test_an_unknown_code_rejects_the_order() -> None:
    assert refused(cart("SAVE11"), promotions=[TEN], coupons=[SAVE]) == "coupon_unknown"


def test_one_unknown_code_among_good_ones_rejects_the_order() -> None:
    assert refused(cart("SAVE10", "X"), promotions=[TEN], coupons=[SAVE]) == "coupon_unknown"


@pytest.mark.parametrize(
    "validity",
    [
        {"valid_until": NOW.isoformat()},
        {"valid_until": "2026-11-22T00:00:00"},
        {"valid_from": "2026-11-23T12:00:01+00:00"},
        {"valid_from": "2026-11-24"},
    ],
    ids=["in this moment", "yesterday", "in a second", "tomorrow"],
)
def test_outside_its_validity_it_rejects_the_order(validity: dict[str, str]) -> None:
    found = refused(cart("SAVE10"), promotions=[TEN], coupons=[{**SAVE, **validity}])

    assert found == "coupon_expired"


@pytest.mark.parametrize(
    "changes",
    [
        {"when": {"min_spend": {"EUR": "20.01"}}},
        {"when": {"min_spend": {"JPY": "1"}}},
        {"when": {"min_quantity": 3}},
        {"when": {"skus": ["MUG"]}},
        {"when": {"categories": ["kitchen"]}},
        {"when": {"sources": ["stand"]}},
        {"when": {"customer_groups": ["vip"]}},
        {"when": {"first_order": True}},
        {"when": {"weekdays": ["tue"]}},
        {"when": {"valid_from": "2026-11-24"}},
        {"when": {"valid_until": "2026-11-23"}},
        {"lines": {"skus": ["MUG"]}},
        {"lines": {"except_skus": ["CUP"]}},
        {"effect": {"type": "percent", "percent": "10", "cap": {"JPY": "100"}}},
        {"effect": {"type": "fixed", "amount": {"JPY": "100"}}},
        {"effect": {"type": "fixed", "amount": {"EUR": "0"}}},
        {"effect": {"type": "buy_get", "buy": 2, "get": 1}},
        {"target": "shipping"},
    ],
    ids=lambda changes: str(changes)[1:-1],
)
def test_of_no_use_it_rejects_the_order(changes: dict[str, Any]) -> None:
    found = refused(cart("SAVE10"), promotions=[{**TEN, **changes}], coupons=[SAVE])

    assert found == "coupon_not_applicable"


def test_behind_a_promotion_that_was_the_last_it_is_of_no_use() -> None:
    last = {**TWENTY, "last": True, "priority": 1}

    found = refused(cart("SAVE10"), promotions=[TEN, last], coupons=[SAVE])

    assert found == "coupon_not_applicable"


def test_an_order_sold_at_agreed_prices_can_use_none_and_is_held() -> None:
    found = refused(cart("SAVE10", as_sold=True), promotions=[TEN], coupons=[SAVE])

    assert found == "coupon_not_applicable"
    assert refused(cart("X", as_sold=True), coupons=[]) == "coupon_unknown"


def test_of_several_that_are_no_good_the_first_given_is_named() -> None:
    old = {"code": "OLD", "promotions": ["ten"], "valid_until": "2026-11-01"}

    assert refused(cart("OLD", "X"), promotions=[TEN], coupons=[old]) == "coupon_expired"
    assert refused(cart("X", "OLD"), promotions=[TEN], coupons=[old]) == "coupon_unknown"


def test_a_code_that_can_be_no_good_is_told_before_where_the_order_goes() -> None:
    given = cart("X", shipping_method="pigeon")

    assert refused(given, promotions=[TEN], coupons=[SAVE]) == "coupon_unknown"


def test_whether_it_is_of_use_is_known_after_shipping() -> None:
    given = cart("SAVE10", shipping_method="pigeon")
    idle = {**TEN, "when": {"min_quantity": 3}}

    assert refused(given, promotions=[idle], coupons=[SAVE]) == "no_shipping_method"
