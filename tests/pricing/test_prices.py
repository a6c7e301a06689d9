"""The unit price: of all catalogue prices that fit, the best fitting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from pipeline.pricing.prices import ListPrice, choose

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)

USUAL = ListPrice(1000)
TEN = ListPrice(900, from_quantity=10)
HUNDRED = ListPrice(800, from_quantity=100)
SALE = ListPrice(950, valid_from=NOW - HOUR, valid_until=NOW + HOUR)
NEWER_SALE = ListPrice(960, valid_from=NOW - HOUR / 2)
ENDING = ListPrice(970, valid_until=NOW + HOUR)
VIP = ListPrice(990, "vip")
VIP_TEN = ListPrice(980, "vip", 10)
VIP_SALE = ListPrice(985, "vip", 1, NOW - HOUR)


def chosen(
    *prices: ListPrice, quantity: int = 1, group: str | None = None, at: datetime = NOW
) -> ListPrice | None:
    """The same, in whatever order the prices come."""
    found = {choose(order, quantity, group, at) for order in permutations(prices)}
    assert len(found) == 1
    return found.pop()


@pytest.mark.parametrize(
    ("quantity", "price"), [(1, USUAL), (9, USUAL), (10, TEN), (99, TEN), (100, HUNDRED)]
)
def test_the_highest_quantity_break_that_is_reached(quantity: int, price: ListPrice) -> None:
    assert chosen(USUAL, TEN, HUNDRED, quantity=quantity) == price


@pytest.mark.parametrize(
    ("at", "price"),
    [
        (NOW - HOUR, SALE),  # from then on
        (NOW - HOUR * 2, USUAL),
        (NOW + HOUR, USUAL),  # until, not with
        (NOW + HOUR - timedelta(microseconds=1), SALE),
    ],
)
def test_a_price_with_a_validity_goes_before_one_without_while_it_lasts(
    at: datetime, price: ListPrice
) -> None:
    assert chosen(USUAL, SALE, at=at) == price


@pytest.mark.parametrize(
    ("group", "price"), [("vip", VIP), ("staff", USUAL), ("", USUAL), (None, USUAL)]
)
def test_a_price_of_the_customers_group_goes_before_one_for_everyone(
    group: str | None, price: ListPrice
) -> None:
    assert chosen(USUAL, VIP, group=group) == price


@pytest.mark.parametrize(
    ("prices", "price"),
    [
        ([VIP, SALE, HUNDRED], VIP),  # group before validity and break
        ([SALE, HUNDRED], SALE),  # validity before break
        ([VIP, VIP_TEN, VIP_SALE], VIP_SALE),
        ([VIP, VIP_TEN, SALE], VIP_TEN),
        ([SALE, NEWER_SALE], NEWER_SALE),  # the latest beginning
        ([SALE, ENDING], SALE),  # none is the earliest
        ([ENDING, USUAL], ENDING),  # an end is a validity too
        ([USUAL, HUNDRED], HUNDRED),
    ],
)
def test_group_then_validity_then_break_then_latest_beginning(
    prices: list[ListPrice], price: ListPrice
) -> None:
    assert chosen(*prices, quantity=100, group="vip") == price


def test_none_fits() -> None:
    late = ListPrice(1, valid_from=NOW + HOUR)
    past = ListPrice(1, valid_until=NOW)

    assert chosen() is None
    assert chosen(TEN, VIP, late, past, quantity=9) is None


@pytest.mark.parametrize(
    ("price", "origin"),
    [
        (USUAL, "catalogue"),
        (SALE, "catalogue"),
        (TEN, "catalogue from 10"),
        (VIP, "group vip"),
        (VIP_TEN, "group vip from 10"),
    ],
)
def test_a_price_says_where_it_is_from(price: ListPrice, origin: str) -> None:
    assert price.origin == origin
