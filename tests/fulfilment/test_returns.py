"""Returns: what was shipped may come back, once, and those who wait for it have it."""

from __future__ import annotations

import json

import pytest

from pipeline import operations
from pipeline.errors import InvalidInput, NotAllowedNow, UnknownOrder
from pipeline.fulfilment import Duplicate, Returned
from tests.fulfilment.shop import (
    MakeMill,
    levels,
    moved,
    progress,
    seen,
    shelved,
    ship,
    sold,
    take_back,
)
from tests.payments.shop import booked, findings
from tests.support import MUG, TEE, Mill


def shipped(mill: MakeMill) -> tuple[Mill, int]:
    """Three mugs and a shirt, 50.00 EUR, of which the mugs were shipped."""
    shop = shelved(mill, (MUG, "main", 3), (TEE, "main", 1))
    order = sold(shop, [(MUG, 3), (TEE, 1)])
    ship(shop, order, lines={1: 3})
    return shop, order


def test_units_go_back_into_stock_where_they_came_to(mill: MakeMill) -> None:
    shop, order = shipped(mill)

    take_back(shop, order, {1: 2}, "outlet")

    assert levels(shop)[MUG, "outlet"] == (2, 0)
    assert moved(shop, "return") == [(MUG, "outlet", 2, f"order {order}")]
    assert (progress(shop, order), findings(shop)) == ("partial", [])


def test_units_that_are_not_to_be_sold_again_are_written_down_and_no_more(mill: MakeMill) -> None:
    shop, order = shipped(mill)

    take_back(shop, order, {1: 2}, None)

    assert levels(shop)[MUG, "main"] == (0, 0)
    assert (moved(shop, "return"), findings(shop)) == ([], [])


def test_who_waits_for_a_unit_has_it_in_the_transaction_that_brings_it_back(mill: MakeMill) -> None:
    shop, order = shipped(mill)
    waiting = shop.accept(lines=[(MUG, 1)])
    shop.turn()
    assert shop.status(waiting) == "backordered"

    take_back(shop, order, {1: 2})

    assert levels(shop)[MUG, "main"] == (2, 1)
    held = shop.query("SELECT quantity FROM reservations WHERE order_id = :id", id=waiting)
    assert [row.quantity for row in held] == [1]
    shop.turn()
    assert (shop.status(waiting), findings(shop)) == ("confirmed", [])


def test_the_timeline_and_the_order_tell_what_came_back(mill: MakeMill) -> None:
    shop, order = shipped(mill)

    take_back(shop, order, {1: 2}, "main", reason="too small")

    told = seen(shop, order)
    last, [back] = told["events"][-1], told["returns"]
    assert (last["kind"], last["reason"], json.loads(last["detail"])) == (
        "returned", "too small", {"reference": "R-1", "lines": {"1": 2}, "location": "main"},
    )  # fmt: skip
    assert (back["reference"], back["location"], back["reason"]) == ("R-1", "main", "too small")
    assert back["lines"] == [{"line_no": 1, "sku": MUG, "units": 2}]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ({1: 4}, "lines.1: got 4, expected 1 to 3 units, as were shipped and not returned"),
        ({1: 0}, "lines.1: got 0, expected 1 to 3 units"),
        ({2: 1}, "lines.2: got 1, expected a line with units that were shipped and not returned"),
        ({9: 1}, "lines.9: got 1, expected a line with units"),
        ({}, "lines: got none, expected units of a line"),
    ],
)
def test_what_was_not_shipped_can_not_come_back(
    mill: MakeMill, lines: dict[int, int], said: str
) -> None:
    shop, order = shipped(mill)

    with pytest.raises(InvalidInput, match=f"order {order}: {said}"):
        take_back(shop, order, lines)

    assert shop.query("SELECT 1 FROM returns") == []


def test_what_came_back_can_not_come_back_again(mill: MakeMill) -> None:
    shop, order = shipped(mill)
    take_back(shop, order, {1: 2}, reference="R-1")

    with pytest.raises(InvalidInput, match="expected 1 to 1 units, as were shipped and not"):
        take_back(shop, order, {1: 2}, reference="R-2")

    assert isinstance(take_back(shop, order, {1: 1}, reference="R-2"), Returned)


def test_the_same_under_the_same_reference_is_once_and_other_content_is_refused(
    mill: MakeMill,
) -> None:
    shop, order = shipped(mill)
    take_back(shop, order, {1: 2}, refund=True)
    timeline = shop.timeline(order)

    assert isinstance(take_back(shop, order, {1: 2}, refund=True), Duplicate)
    with pytest.raises(InvalidInput, match="reference: got R-1, expected one under which nothing"):
        take_back(shop, order, {1: 1})

    assert (shop.timeline(order), levels(shop)[MUG, "main"]) == (timeline, (2, 0))


def test_what_was_paid_for_them_is_asked_back_in_the_same_transaction(mill: MakeMill) -> None:
    shop, order = shipped(mill)

    verdict = take_back(shop, order, {1: 2}, refund=True)

    assert (verdict.refund.kind, verdict.refund.amount) == ("refund", 2000)
    shop.payment_tasks.run()
    assert (booked(shop)["refund"], findings(shop)) == (2000, [])


def test_what_can_not_be_refunded_does_not_come_back_either(mill: MakeMill) -> None:
    shop, order = shipped(mill)
    take_back(shop, order, {1: 1}, reference="R-1", refund=True)
    before = (levels(shop), shop.timeline(order))
    with shop.database.transaction() as tx:
        operations.refund(tx, order, "ada")

    with pytest.raises(InvalidInput, match=r"0.00 EUR can be refunded, 10.00 were asked for"):
        take_back(shop, order, {1: 1}, reference="R-2", refund=True)

    assert (levels(shop), shop.timeline(order)[:-1]) == before


def test_only_a_confirmed_order_that_there_is_comes_back(mill: MakeMill) -> None:
    shop = shelved(mill)
    waiting = shop.accept(lines=[(MUG, 1)])
    shop.turn()

    with pytest.raises(
        NotAllowedNow, match=f"order {waiting} is backordered and can't be returned"
    ):
        take_back(shop, waiting, {1: 1})
    with pytest.raises(UnknownOrder):
        take_back(shop, 77, {1: 1})
