"""Shipping: units that are promised leave, once, and everybody who should know knows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from pipeline.fulfilment import Duplicate, Reused, Shipped
from pipeline.inventory.shipping import Refused, Shipment
from pipeline.storage.selection import Selection
from pipeline.storage.views import page
from scheduler.jobs.deliver_notifications import deliver_notifications
from tests.fulfilment.shop import (
    MakeMill,
    levels,
    moved,
    progress,
    seen,
    shelved,
    ship,
    ship_all,
    sold,
)
from tests.payments.shop import booked, cancel, findings, reference, stand
from tests.support import MUG, TEE, Mill, an_order

HERE, THERE = (MUG, "east"), (MUG, "west")


def split_order(mill: MakeMill) -> tuple[Mill, int]:
    """Five mugs and a shirt, of which three mugs are in the east, and two in the west."""
    shop = shelved(mill, (MUG, "east", 3), (MUG, "west", 2), (TEE, "west", 1))
    return shop, sold(shop, [(MUG, 5), (TEE, 1)])


# --- What leaves ----------------------------------------------------------------------------------


def test_all_that_is_left_leaves_from_where_it_is_reserved(mill: MakeMill) -> None:
    shop, order = split_order(mill)

    verdict = ship(shop, order, carrier="DHL", tracking="JD01")

    assert isinstance(verdict, Shipped)
    assert levels(shop) == {HERE: (0, 0), THERE: (0, 0), (TEE, "west"): (0, 0)}
    assert moved(shop, "shipment") == [
        (MUG, "east", -3, f"order {order}"),
        (MUG, "west", -2, f"order {order}"),
        (TEE, "west", -1, f"order {order}"),
    ]
    assert (progress(shop, order), shop.status(order)) == ("fulfilled", "confirmed")
    assert findings(shop) == []


def test_units_of_lines_leave_and_the_rest_stays_promised(mill: MakeMill) -> None:
    shop, order = split_order(mill)

    ship(shop, order, lines={1: 4})

    assert levels(shop) == {HERE: (0, 0), THERE: (1, 1), (TEE, "west"): (1, 1)}
    assert (progress(shop, order), findings(shop)) == ("partial", [])


def test_a_location_narrows_what_leaves(mill: MakeMill) -> None:
    shop, order = split_order(mill)

    ship(shop, order, "P-1", location="west")
    ship(shop, order, "P-2", lines={1: 1}, location="east")

    assert levels(shop) == {HERE: (2, 2), THERE: (0, 0), (TEE, "west"): (0, 0)}
    assert findings(shop) == []


def test_an_order_is_shipped_in_parts_until_nothing_is_left(mill: MakeMill) -> None:
    shop, order = split_order(mill)
    told = [progress(shop, order)]

    for number, lines in enumerate(({1: 2}, {1: 2, 2: 1}, {1: 1})):
        assert isinstance(ship(shop, order, f"P-{number}", lines=lines), Shipped)
        told.append(progress(shop, order))

    assert told == ["unfulfilled", "partial", "partial", "fulfilled"]
    assert ship(shop, order, "P-9") == Refused("lines", "all", "units left to ship, there are none")
    assert findings(shop) == []


def test_two_lines_that_share_a_sku_leave_each_for_itself(mill: MakeMill) -> None:
    shop = shelved(mill, (MUG, "main", 9), price_policy="as_sold")
    lines = [
        {"sku": MUG, "quantity": 2, "unit_price": "10.00"},
        {"sku": MUG, "quantity": 3, "unit_price": "9.00"},
    ]
    order = shop.send({**an_order(), "lines": lines}).order_id
    assert order is not None
    shop.turn()

    ship(shop, order, lines={2: 3})

    assert levels(shop) == {(MUG, "main"): (6, 2)}
    assert findings(shop) == []


# --- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "refused"),
    [
        ({"lines": {1: 6}}, Refused("lines.1", "6", "1 to 5 units, as are left to ship")),
        ({"lines": {1: 0}}, Refused("lines.1", "0", "1 to 5 units, as are left to ship")),
        (
            {"lines": {1: 3}, "location": "west"},
            Refused("lines.1", "3", "1 to 2 units, as are left to ship at west"),
        ),
        ({"lines": {3: 1}}, Refused("lines.3", "1", "a line with units left to ship")),
        (
            {"location": "north"},
            Refused("lines", "all", "units left to ship at north, there are none"),
        ),
        ({"carrier": "x" * 65}, Refused("carrier", repr("x" * 65), "1 to 64 printable characters")),
        ({"tracking": "a\nb"}, Refused("tracking", r"'a\nb'", "1 to 64 printable characters")),
        (
            {"carrier": "4242 4242 4242 4242"},
            Refused("carrier", "4242…4242", "no payment card number"),
        ),
    ],
)
def test_what_can_not_leave_is_refused_in_words_and_nothing_leaves(
    mill: MakeMill, content: dict[str, Any], refused: Refused
) -> None:
    shop, order = split_order(mill)

    assert ship(shop, order, **content) == refused

    assert levels(shop) == {HERE: (3, 3), THERE: (2, 2), (TEE, "west"): (1, 1)}
    assert (moved(shop, "shipment"), progress(shop, order)) == ([], "unfulfilled")


def test_an_order_that_there_is_not_is_refused(mill: MakeMill) -> None:
    shop, _ = split_order(mill)

    assert ship(shop, 77) == Refused("order", "77", "an order there is")


def test_only_confirmed_orders_are_shipped(mill: MakeMill) -> None:
    shop = shelved(mill, (MUG, "main", 2))
    waiting = shop.accept(lines=[(TEE, 1)])
    shop.turn()
    cancelling = sold(shop, [(MUG, 1)])
    cancel(shop, cancelling)

    refused = [ship(shop, order) for order in (waiting, cancelling)]

    assert refused == [
        Refused("order", f"one that is {status}", "a confirmed one")
        for status in ("backordered", "cancelling")
    ]


def test_an_order_whose_payment_is_disputed_is_not_shipped(mill: MakeMill) -> None:
    shop, order = split_order(mill)
    shop.gateway.dispute(reference(shop, order), 100)  # type: ignore[attr-defined]
    shop.gateway_events.poll()

    assert ship(shop, order) == Refused(
        "order", "one whose payment is disputed", "one that is paid"
    )


# --- Once -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [{}, {"lines": {1: 2}, "carrier": "DHL", "tracking": "JD01"}, {"location": "west"}]
)
def test_the_same_under_the_same_reference_is_once(mill: MakeMill, content: dict[str, Any]) -> None:
    shop, order = split_order(mill)
    ship(shop, order, **content)
    before = (levels(shop), shop.timeline(order))

    assert ship(shop, order, **content) == Duplicate()

    assert (levels(shop), shop.timeline(order)) == before


@pytest.mark.parametrize("other", [{"lines": {1: 1}}, {"tracking": "JD02"}, {"location": "west"}])
def test_other_content_under_the_same_reference_is_refused(
    mill: MakeMill, other: dict[str, Any]
) -> None:
    shop, order = split_order(mill)
    ship(shop, order, lines={1: 2}, tracking="JD01")

    assert ship(shop, order, **{"lines": {1: 2}, "tracking": "JD01", **other}) == Reused(
        "reference", "P-1", "one under which nothing else was shipped"
    )

    assert shop.timeline(order).count("shipped") == 1


def test_a_reference_is_an_orders_own(mill: MakeMill) -> None:
    shop = shelved(mill, (MUG, "main", 2))
    first, second = sold(shop, [(MUG, 1)]), sold(shop, [(MUG, 1)])

    verdicts = ship_all(shop, Shipment(first, "P-1"), Shipment(second, "P-1"))

    assert [type(verdict) for verdict in verdicts] == [Shipped, Shipped]


def test_shipments_of_a_batch_are_decided_one_after_another(mill: MakeMill) -> None:
    shop, order = split_order(mill)
    other = shop.accept(lines=[(TEE, 5)])
    shop.turn()

    verdicts = ship_all(
        shop,
        Shipment(order, "P-1", {1: 3}),
        Shipment(other, "P-1"),
        Shipment(order, "P-1", {1: 3}),
        Shipment(order, "P-2", {1: 3}),
        Shipment(order, "P-3", {1: 2}),
    )

    assert [type(verdict) for verdict in verdicts] == [
        Shipped,
        Refused,
        Duplicate,
        Refused,
        Shipped,
    ]
    assert verdicts[3] == Refused("lines.1", "3", "1 to 2 units, as are left to ship")
    assert (levels(shop)[HERE], levels(shop)[THERE], findings(shop)) == ((0, 0), (0, 0), [])


def test_a_batch_takes_as_many_statements_as_one_shipment(mill: MakeMill) -> None:
    shop = shelved(mill, (MUG, "main", 40))
    numbers = [sold(shop, [(MUG, 2)]) for _ in range(11)]

    with counted(shop) as one:
        ship(shop, numbers[0], "P-1", lines={1: 1})
    with counted(shop) as many:
        ship_all(shop, *(Shipment(number, "P-2", {1: 1}) for number in numbers))

    assert many == one


@contextmanager
def counted(shop: Mill) -> Iterator[list[int]]:
    """The statements that are run meanwhile."""
    count = [0]

    def add(*_: Any) -> None:
        count[0] += 1

    event.listen(shop.database.engine, "before_cursor_execute", add)
    yield count
    event.remove(shop.database.engine, "before_cursor_execute", add)


# --- Who is told ----------------------------------------------------------------------------------


def test_the_timeline_tells_what_left_and_how(mill: MakeMill) -> None:
    shop, order = split_order(mill)

    ship(shop, order, lines={1: 4}, carrier="DHL", tracking="JD01")

    last = seen(shop, order)["events"][-1]
    assert (last["kind"], last["actor"], json.loads(last["detail"])) == (
        "shipped", "ada",
        {"lines": {"1": 4}, "reference": "P-1", "carrier": "DHL", "tracking": "JD01"},
    )  # fmt: skip


def test_an_order_shows_its_shipments(mill: MakeMill) -> None:
    shop, order = split_order(mill)

    ship(shop, order, lines={1: 4}, carrier="DHL", tracking="JD01")

    [shown] = seen(shop, order)["shipments"]
    assert (shown["reference"], shown["carrier"], shown["tracking"]) == ("P-1", "DHL", "JD01")
    assert shown["lines"] == [
        {"line_no": 1, "location": "east", "sku": MUG, "units": 3},
        {"line_no": 1, "location": "west", "sku": MUG, "units": 1},
    ]


def test_the_customer_is_told_once_a_shipment(mill: MakeMill) -> None:
    shop = shelved(mill, (MUG, "main", 5))
    order = sold(shop, [(MUG, 5)])
    shop.inbox.received.clear()

    for name, units in (("P-1", 2), ("P-1", 2), ("P-2", 3)):
        ship(shop, order, name, lines={1: units}, tracking=f"T-{name}")
    deliver_notifications(shop)  # type: ignore[arg-type]

    assert sorted(
        (n.topic, n.channel, n.payload["shipment"]["tracking"], n.payload["shipment"]["lines"])
        for n in shop.inbox.received
    ) == [
        ("order.shipped", "email", tracking, [{"line": 1, "sku": MUG, "units": units}])
        for tracking, units in (("T-P-1", 2), ("T-P-2", 3))
    ]


def test_orders_are_found_by_what_was_shipped_of_them(mill: MakeMill) -> None:
    shop = shelved(mill, (MUG, "main", 6))
    none, some, every = (sold(shop, [(MUG, 2)]) for _ in range(3))
    ship(shop, some, lines={1: 1})
    ship(shop, every)

    with shop.database.snapshot() as tx:
        found = {
            status: [row["id"] for row in page(tx, Selection(fulfilment=status))]
            for status in ("unfulfilled", "partial", "fulfilled")
        }

    assert found == {"unfulfilled": [none], "partial": [some], "fulfilled": [every]}


# --- The money ------------------------------------------------------------------------------------


def test_the_capture_is_asked_for_with_the_first_shipment_and_once(mill: MakeMill) -> None:
    shop = shelved(mill, (MUG, "main", 3), capture="later")
    order = sold(shop, [(MUG, 3)])

    first = ship(shop, order, "P-1", lines={1: 1}, capture=True)
    assert isinstance(first, Shipped)
    assert first.capture is not None
    assert [kind for kind, _, _ in stand(shop, order)] == ["authorize", "capture"]
    shop.payment_tasks.run()
    second = ship(shop, order, "P-2", lines={1: 2}, capture=True)

    assert isinstance(second, Shipped)
    assert second.capture is None
    assert (booked(shop)["capture"], findings(shop)) == (3000, [])


def test_what_was_free_has_nothing_to_capture_and_is_shipped(mill: MakeMill) -> None:
    shop = shelved(mill, (MUG, "main", 3), capture="later")
    gift = {"id": "gift", "name": "Gift", "effect": {"type": "percent", "percent": 100}}
    shop.price_by({"promotions": [gift]})
    order = sold(shop, [(MUG, 3)])

    shipped = ship(shop, order, capture=True)

    assert isinstance(shipped, Shipped)
    assert shipped.capture is None
    assert (progress(shop, order), stand(shop, order), findings(shop)) == ("fulfilled", [], [])


def test_what_can_not_be_captured_is_not_shipped_when_that_is_asked_for(mill: MakeMill) -> None:
    shop = shelved(mill, (MUG, "main", 3), gateway="manual", capture="later")
    order = sold(shop, [(MUG, 3)], method="invoice")

    refused = ship(shop, order, capture=True)

    assert isinstance(refused, Refused)
    assert refused.field == "capture"
    assert "paid by hand" in refused.expected
    assert levels(shop) == {(MUG, "main"): (3, 3)}
