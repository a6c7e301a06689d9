"""When a promotion applies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from pipeline.pricing.cart import Cart
from tests.pricing.carts import MONDAY_NOON, applied, cart, line, promotion, quoted

MUG = line("MUG", 1000, 2, categories=["kitchen", "gifts"])
PEN = line("PEN", 500, 3, categories=["office"])


def applies(bought: Cart, when: dict[str, Any], zone: str = "UTC", **given: Any) -> bool:
    """Whether one percent is taken off."""
    off = promotion("percent", percent=1, when=when, **given)
    return applied(quoted(bought, promotions=[off], timezone=zone)) == ["p"]


@pytest.mark.parametrize(
    ("amount", "selector", "expected"),
    [
        ({"EUR": "35.00"}, {}, True),
        ({"EUR": "35.01"}, {}, False),
        ({"EUR": "20.00"}, {"skus": ["MUG"]}, True),
        ({"EUR": "20.01"}, {"skus": ["MUG"]}, False),
        ({"USD": "1.00"}, {}, False),  # nothing said for euros
        ({"USD": "99.00", "EUR": "1.00"}, {}, True),
    ],
)
def test_min_spend_is_what_the_selected_lines_cost(
    amount: dict[str, str], selector: dict[str, Any], expected: bool
) -> None:
    assert applies(cart(MUG, PEN), {"min_spend": amount}, lines=selector) is expected


@pytest.mark.parametrize(
    ("units", "selector", "expected"),
    [(5, {}, True), (6, {}, False), (3, {"skus": ["PEN"]}, True), (4, {"skus": ["PEN"]}, False)],
)
def test_min_quantity_counts_the_units_of_the_selected_lines(
    units: int, selector: dict[str, Any], expected: bool
) -> None:
    assert applies(cart(MUG, PEN), {"min_quantity": units}, lines=selector) is expected


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({"skus": ["PEN"]}, True),
        ({"skus": ["CUP", "PEN"]}, True),
        ({"skus": ["CUP"]}, False),
        ({"categories": ["office"]}, True),
        ({"categories": ["toys", "gifts"]}, True),
        ({"categories": ["toys"]}, False),
        ({"skus": ["PEN"], "categories": ["kitchen"]}, True),  # not of the same line
        ({"skus": ["CUP"], "categories": ["kitchen"]}, False),
    ],
)
def test_the_order_must_have_a_line_with_one_of_the_skus_or_categories(
    when: dict[str, Any], expected: bool
) -> None:
    assert applies(cart(MUG, PEN), when) is expected
    assert applies(cart(MUG, PEN), when, lines={"skus": ["MUG"]}) is expected


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({}, True),
        ({"skus": ["MUG"]}, True),
        ({"categories": ["gifts"]}, True),
        ({"skus": ["CUP"], "categories": ["gifts"]}, True),
        ({"skus": ["CUP"]}, False),
        ({"categories": ["toys"]}, False),
        ({"categories": ["gifts"], "except_skus": ["MUG"]}, False),
        ({"except_skus": ["MUG"]}, True),  # PEN is left
        ({"except_skus": ["MUG", "PEN"]}, False),
    ],
)
def test_a_promotion_that_selects_no_line_does_not_apply(
    selector: dict[str, Any], expected: bool
) -> None:
    assert applies(cart(MUG, PEN), {}, lines=selector) is expected


@pytest.mark.parametrize(
    ("facts", "when", "expected"),
    [
        ({"source": "web"}, {"sources": ["web", "app"]}, True),
        ({"source": "shop"}, {"sources": ["web", "app"]}, False),
        ({"customer_group": "vip"}, {"customer_groups": ["vip"]}, True),
        ({"customer_group": "staff"}, {"customer_groups": ["vip"]}, False),
        ({"customer_group": None}, {"customer_groups": ["vip"]}, False),
        ({"first_order": True}, {"first_order": True}, True),
        ({"first_order": False}, {"first_order": True}, False),
        ({"first_order": False}, {"first_order": False}, True),  # not asked for
    ],
)
def test_who_buys_and_where(facts: dict[str, Any], when: dict[str, Any], expected: bool) -> None:
    assert applies(cart(MUG, **facts), when) is expected


@pytest.mark.parametrize(
    ("at", "zone", "days", "expected"),
    [
        (MONDAY_NOON, "UTC", ["mon"], True),
        (MONDAY_NOON, "UTC", ["tue", "sun"], False),
        (datetime(2026, 11, 22, 23, 30, tzinfo=UTC), "UTC", ["sun"], True),
        (datetime(2026, 11, 22, 23, 30, tzinfo=UTC), "Europe/Berlin", ["mon"], True),
        (datetime(2026, 11, 23, 4, 30, tzinfo=UTC), "America/New_York", ["sun"], True),
    ],
)
def test_the_weekday_is_that_of_the_rules_timezone(
    at: datetime, zone: str, days: list[str], expected: bool
) -> None:
    assert applies(cart(MUG, at=at), {"weekdays": days}, zone) is expected


NOON = "2026-11-23T12:00:00"


@pytest.mark.parametrize(
    ("when", "zone", "expected"),
    [
        ({"valid_from": f"{NOON}Z"}, "UTC", True),  # from then on
        ({"valid_from": "2026-11-23T12:00:01Z"}, "UTC", False),
        ({"valid_until": f"{NOON}Z"}, "UTC", False),  # until, not with
        ({"valid_until": "2026-11-23T12:00:01Z"}, "UTC", True),
        ({"valid_from": "2026-11-23", "valid_until": "2026-11-24"}, "UTC", True),
        ({"valid_from": "2026-11-24", "valid_until": "2026-11-25"}, "UTC", False),
        # Without a zone, the rules': noon in Berlin was an hour ago, in New York it is to come.
        ({"valid_from": NOON}, "Europe/Berlin", True),
        ({"valid_until": NOON}, "Europe/Berlin", False),
        ({"valid_from": NOON}, "America/New_York", False),
        ({"valid_from": f"{NOON}+01:00"}, "America/New_York", True),
    ],
)
def test_a_validity_has_its_beginning_but_not_its_end(
    when: dict[str, Any], zone: str, expected: bool
) -> None:
    assert applies(cart(MUG), when, zone) is expected


def test_the_moment_is_the_same_in_whatever_zone_it_is_told() -> None:
    elsewhere = MONDAY_NOON.astimezone(timezone(timedelta(hours=-11)))

    assert applies(cart(MUG, at=elsewhere), {"weekdays": ["mon"], "valid_from": f"{NOON}Z"})


def test_all_conditions_must_hold() -> None:
    when = {"min_quantity": 2, "sources": ["shop"], "weekdays": ["mon"], "skus": ["MUG"]}

    assert applies(cart(MUG), when)
    for broken in (
        {"min_quantity": 3},
        {"sources": ["web"]},
        {"weekdays": ["tue"]},
        {"skus": ["PEN"]},
    ):
        assert not applies(cart(MUG), {**when, **broken})
