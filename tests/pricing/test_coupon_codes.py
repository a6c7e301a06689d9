"""Coupons: which codes are accepted, what they let apply, and which of them are used."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.pricing.cart import Cart
from pipeline.pricing.codes import meant
from tests.pricing.carts import (
    applied,
    cart,
    discounts,
    explained,
    line,
    promotion,
    quoted,
    refused,
    ruled,
    shipped,
    taxed,
)

MUG = line("MUG", 1000)
TEN = promotion("percent", "ten", percent=10)
BIG = promotion("percent", "big", percent=50, when={"min_spend": {"EUR": "100.00"}})


def coupon(code: str, *promotions: str, **given: Any) -> dict[str, Any]:
    return {"code": code, "promotions": list(promotions) or ["ten"], **given}


def buying(*codes: str, **facts: Any) -> Cart:
    return cart(MUG, coupons=codes, **facts)


def why(bought: Cart, *coupons: dict[str, Any], **rules: Any) -> tuple[str, str]:
    """The reason and the code for which an order is rejected."""
    found = refused(bought, coupons=coupons, **{"promotions": [TEN, BIG], **rules})
    assert found.final is not bought.as_sold
    return found.reason, found.detail["coupon"]


def test_a_promotion_named_by_a_coupon_waits_for_its_code() -> None:
    rules = {"promotions": [TEN], "coupons": [coupon("SAVE")]}

    assert applied(quoted(buying(), **rules)) == []
    assert applied(quoted(buying("SAVE"), **rules)) == ["ten"]


def test_other_promotions_need_none() -> None:
    found = quoted(
        buying(), promotions=[TEN, {**TEN, "id": "all"}], coupons=[coupon("SAVE", "ten")]
    )

    assert applied(found) == ["all"]


TYPED = {
    "a space after it": "SAVE-20 ",
    "a space before it": " SAVE-20",
    "a no-break space": "SAVE-20\u00a0",
    "an ideographic space": "\u3000SAVE-20",
    "a line break": "SAVE-20\n",
    "a zero-width space": "SAVE\u200b-20",
    "a byte order mark": "\ufeffSAVE-20",
    "a soft hyphen": "SA\u00adVE-20",
    "full width": "\uff33\uff21\uff36\uff25\uff0d\uff12\uff10",
    "a hyphen": "SAVE\u201020",
    "a hyphen that never breaks": "SAVE\u201120",
    "an en dash": "save\u201320",
    "a minus": "SAVE\u221220",
    "mixed case": "sAvE-20",
}


@pytest.mark.parametrize("given", TYPED.values(), ids=TYPED)
def test_a_code_is_what_they_mean_who_type_or_paste_it(given: str) -> None:
    found = quoted(buying(given), promotions=[TEN], coupons=[coupon("SAVE-20")])

    assert (applied(found), found.coupons) == (["ten"], ("SAVE-20",))


@pytest.mark.parametrize(
    ("written", "given"),
    [
        ("İNDİRİM20", "indirim20"),
        ("İNDİRİM20", "İndirim20"),
        ("INDIRIM20", "ındırım20"),
        ("CAFÉ20", "cafe\u030120"),
        ("STRASSE", "straße"),
        ("ÉTÉ D'OR", "été\u00a0d\u2019or"),
    ],
)
def test_letters_mean_the_same_in_whatever_case_and_form(written: str, given: str) -> None:
    rules = {"promotions": [TEN], "coupons": [coupon(written)]}

    assert applied(quoted(buying(given), **rules)) == ["ten"]


@pytest.mark.parametrize("given", ["SAVE20", "SA VE-20", "SAVE-2O", "CAFE20"])
def test_another_code_is_another(given: str) -> None:
    coupons = [coupon("SAVE-20"), coupon("CAFÉ20")]

    assert why(buying(given), *coupons) == ("coupon_unknown", given)


def test_of_two_codes_that_mean_the_same_each_is_found_to_the_letter() -> None:
    coupons = [coupon("SAVE-20", "ten"), coupon("SAVE\u201320", "big")]

    for code in ("SAVE-20", "SAVE\u201320"):
        bought = cart(line("MUG", 100_000), coupons=[code])
        found = quoted(bought, promotions=[TEN, BIG], coupons=coupons)
        assert found.coupons == (code,)


def test_a_field_for_a_code_that_was_left_blank_gives_none() -> None:
    assert quoted(buying(" ", "\u200b"), promotions=[TEN], coupons=[coupon("SAVE")]).coupons == ()


@given(st.text(max_size=20))
def test_what_is_meant_means_itself(code: str) -> None:
    assert meant(meant(code)) == meant(code)
    assert meant(f" {code} ") == meant(code)


@pytest.mark.parametrize("given", ["save", "Save", "SAVE"])
@pytest.mark.parametrize("written", ["save", "SAVE"])
def test_case_does_not_matter(given: str, written: str) -> None:
    found = quoted(buying(given), promotions=[TEN], coupons=[coupon(written)])

    assert found.coupons == ("SAVE",)
    assert explained(found, "promotion")[0]["coupon"] == "SAVE"


def test_a_code_given_twice_is_one() -> None:
    found = quoted(buying("SAVE", "save"), promotions=[TEN], coupons=[coupon("SAVE")])

    assert (found.coupons, discounts(found)) == (("SAVE",), [100])


def test_a_coupon_may_name_several_promotions() -> None:
    promotions = [TEN, promotion("percent", "order", target="order", percent=10)]

    found = quoted(buying("SAVE"), promotions=promotions, coupons=[coupon("SAVE", "ten", "order")])

    assert discounts(found) == [190]


def test_several_coupons_add_up() -> None:
    promotions = [TEN, promotion("percent", "order", target="order", percent=10)]
    coupons = [coupon("A", "ten"), coupon("B", "order")]

    found = quoted(buying("B", "A"), promotions=promotions, coupons=coupons)

    assert (discounts(found), found.coupons) == ([190], ("B", "A"))


def test_two_coupons_that_name_one_promotion_apply_it_once_and_are_both_used() -> None:
    found = quoted(buying("B", "A"), promotions=[TEN], coupons=[coupon("A"), coupon("B")])

    assert (discounts(found), found.coupons) == ([100], ("B", "A"))
    assert explained(found, "promotion")[0]["coupon"] == "B"


# --- What rejects an order ------------------------------------------------------------------------


def test_an_unknown_code() -> None:
    assert why(buying("SAVE", "SAFE"), coupon("SAVE")) == ("coupon_unknown", "SAFE")


@pytest.mark.parametrize(
    "validity",
    [
        {"valid_until": "2026-11-23T12:00:00"},
        {"valid_from": "2026-11-23T12:00:01"},
        {"valid_from": "2026-11-24", "valid_until": "2026-11-25"},
    ],
)
def test_a_code_outside_its_validity(validity: dict[str, str]) -> None:
    assert why(buying("SAVE"), coupon("SAVE", **validity)) == ("coupon_expired", "SAVE")


def test_a_code_within_its_validity_is_fine() -> None:
    validity = {"valid_from": "2026-11-23T12:00:00", "valid_until": "2026-11-23T12:00:01"}

    assert quoted(buying("SAVE"), promotions=[TEN], coupons=[coupon("SAVE", **validity)]).coupons


def test_a_validity_is_meant_in_the_rules_timezone() -> None:
    until = coupon("SAVE", valid_until="2026-11-23T12:30:00")

    assert why(buying("SAVE"), until, timezone="Europe/Berlin") == ("coupon_expired", "SAVE")


@pytest.mark.parametrize(
    ("bought", "rules"),
    [
        (buying("SAVE"), {"promotions": [{**BIG, "id": "ten"}]}),  # its condition doesn't hold
        (buying("SAVE", as_sold=True), {}),  # agreed prices
        (buying("SAVE", currency="USD"), {"promotions": [{**BIG, "id": "ten"}]}),
        (  # nothing is off for one unit
            buying("SAVE"),
            {"promotions": [promotion("cheapest_free", "ten", every=3)]},
        ),
        (  # nothing is shipped
            buying("SAVE"),
            {"promotions": [promotion("free_shipping", "ten", target="shipping")]},
        ),
        (  # another was the last
            buying("SAVE"),
            {"promotions": [TEN, promotion("percent", "a", percent=1, last=True)]},
        ),
    ],
)
def test_a_code_of_no_use(bought: Cart, rules: dict[str, Any]) -> None:
    assert why(bought, coupon("SAVE"), **rules) == ("coupon_not_applicable", "SAVE")


def test_a_code_is_of_use_if_one_of_its_promotions_is() -> None:
    found = quoted(buying("SAVE"), promotions=[TEN, BIG], coupons=[coupon("SAVE", "big", "ten")])

    assert found.coupons == ("SAVE",)


def test_a_code_that_lost_to_a_better_offer_is_accepted_but_not_used() -> None:
    promotions = [
        {**TEN, "group": "best"},
        promotion("percent", "sale", percent=20, group="best"),
    ]

    found = quoted(buying("SAVE"), promotions=promotions, coupons=[coupon("SAVE")])

    assert (applied(found), found.coupons) == (["sale"], ())


@pytest.mark.parametrize(
    ("bought", "reason"),
    [
        (buying("LATE", "NONE"), "coupon_expired"),
        (buying("NONE", "LATE"), "coupon_unknown"),
        (buying("BIG", "NONE"), "coupon_unknown"),
        (buying("NONE", shipping_method="pigeon"), "coupon_unknown"),
        (buying("BIG", shipping_method="pigeon"), "no_shipping_method"),
        (buying("BIG", country="JP"), "no_shipping_rate"),
        (buying("BIG"), "coupon_not_applicable"),
        (buying(), "no_tax_rate"),
    ],
)
def test_where_several_reasons_hold_the_first_counts(bought: Cart, reason: str) -> None:
    found = refused(
        bought,
        promotions=[TEN, BIG],
        coupons=[coupon("LATE", valid_until="2026-01-01"), coupon("BIG", "big")],
        shipping=shipped("4.90", countries=["DE"]),
        tax=taxed("0.2", country="US"),
    )

    assert found.reason == reason


def test_a_rule_set_finds_a_coupon_by_its_code() -> None:
    rules = ruled(promotions=[TEN], coupons=[coupon("save", limit=100, limit_per_customer=1)])

    found = rules.coupons.find("Save")

    assert found is not None
    assert (found.code, found.limit, found.limit_per_customer) == ("SAVE", 100, 1)
    assert rules.coupons.find("SAFE") is None
