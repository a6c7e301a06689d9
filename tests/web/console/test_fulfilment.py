"""Shipping and taking back by hand: asked first, done once, as it was shown, written down."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.source import Policy
from pipeline.storage import sources
from pipeline.storage.database import Database
from pipeline.storage.sql import now
from pipeline.storage.tables import operator_sessions
from tests.support import MUG, TEE, Mill
from tests.web.console.conftest import Browser, actors, logged

Open = Callable[..., Browser]


@pytest.fixture
def order(shop: Mill) -> int:
    """Three mugs and a shirt, sold and paid."""
    order_id = shop.accept(lines=[(MUG, 3), (TEE, 1)])
    shop.turn()
    return order_id


@pytest.fixture
def shipped(grace: Browser, order: int) -> int:
    grace.do(f"/orders/{order}/fulfil", "?choose=yes")
    return order


def on_hand(shop: Mill, sku: str = MUG) -> int:
    [row] = shop.query("SELECT on_hand FROM stock_levels WHERE sku = :sku", sku=sku)
    return int(row.on_hand)


# --- What leaves ------------------------------------------------------------------------------------


def test_all_that_is_left_leaves_as_the_page_said(grace: Browser, shop: Mill, order: int) -> None:
    asked = "?choose=yes&carrier=DHL&tracking=JD01"

    page = grace.text(f"/orders/{order}/fulfil{asked}")
    looked = on_hand(shop)
    answer = grace.do(f"/orders/{order}/fulfil", asked)

    assert "3 × MUG-01 from main, 1 × TEE-01 from main with DHL JD01" in page
    assert "Nothing is left to ship after that." in page
    assert "The customer is told by mail." in page
    assert (looked, on_hand(shop)) == (100, 97)
    assert "Shipped: 3 × MUG-01 from main, 1 × TEE-01 from main." in answer.text
    assert "fulfilled" in answer.text
    assert "JD01" in answer.text
    assert actors(shop, order, "shipped") == ["operator:grace"]
    assert logged(shop) == [("grace", "fulfil", str(order), "done")]


def test_units_of_lines_leave_and_the_rest_is_offered_again(
    grace: Browser, shop: Mill, order: int
) -> None:
    page = grace.text(f"/orders/{order}/fulfil?choose=yes&line_1=2")
    grace.do(f"/orders/{order}/fulfil", "?choose=yes&line_1=2")
    again = grace.text(f"/orders/{order}/fulfil")

    assert "2 × MUG-01 from main: the units leave" in page
    assert "Units left to ship after that: 2." in page
    assert "MUG-01, 1 left" in again
    assert on_hand(shop) == 98


def test_a_shipment_that_is_sent_twice_leaves_once(grace: Browser, shop: Mill, order: int) -> None:
    form = grace.form_of(f"/orders/{order}/fulfil?choose=yes&line_1=1")

    answers = [grace.post(f"/orders/{order}/fulfil", **form).status_code for _ in range(2)]

    assert answers == [200, 409]
    assert on_hand(shop) == 99
    assert [entry[3] for entry in logged(shop)] == ["done", "refused"]


def test_the_money_that_is_due_is_taken_with_it(grace: Browser, shop: Mill) -> None:
    with shop.database.transaction() as tx:
        sources.put(tx, "shop", Policy(gateway="sandbox", capture="later"))
        shop.source = sources.by_name(tx, "shop")
    order = shop.accept()
    shop.turn()

    offered = grace.text(f"/orders/{order}/fulfil")
    page = grace.text(f"/orders/{order}/fulfil?choose=yes&capture=yes")
    answer = grace.do(f"/orders/{order}/fulfil", "?choose=yes&capture=yes")

    assert "take the money that is due" in offered
    assert "20.00 EUR are taken from the customer, by sandbox." in page
    assert "Shipped: 2 × MUG-01 from main. 20.00 EUR captured." in answer.text


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("line_1=4", "lines.1: got 4, expected 1 to 3 units"),
        ("line_1=x", "expected a number of units"),
        ("location=moon", "units left to ship at moon"),
        ("carrier=4242424242424242", "no payment card number"),
    ],
)
def test_what_can_not_leave_is_told_where_it_is_asked_for(
    grace: Browser, shop: Mill, order: int, asked: str, says: str
) -> None:
    answer = grace.get(f"/orders/{order}/fulfil?choose=yes&{asked}")

    assert (answer.status_code, says in answer.text) == (422, True)
    assert "What would that be?" in answer.text
    assert on_hand(shop) == 100


def test_a_tracking_number_ships_once(grace: Browser, shop: Mill, order: int) -> None:
    asked = "?choose=yes&line_1=1&tracking=JD01"
    grace.do(f"/orders/{order}/fulfil", asked)

    again = grace.get(f"/orders/{order}/fulfil{asked}")

    assert (again.status_code, "this was done before" in again.text) == (422, True)
    assert on_hand(shop) == 99


# --- What comes back --------------------------------------------------------------------------------


def test_units_come_back_into_stock_and_are_refunded(
    grace: Browser, shop: Mill, shipped: int
) -> None:
    asked = "?choose=yes&line_1=2&restock=at:main&refund=yes&reason=too+small"

    page = grace.text(f"/orders/{shipped}/return{asked}")
    looked = on_hand(shop)
    answer = grace.do(f"/orders/{shipped}/return", asked)

    assert "2 × MUG-01 come back." in page
    assert "They are put into stock at main" in page
    assert "20.00 EUR are given back to the customer, by sandbox." in page
    assert (looked, on_hand(shop)) == (97, 99)
    assert "Came back: 2 × MUG-01. 20.00 EUR refunded." in answer.text
    assert "too small" in answer.text
    assert actors(shop, shipped, "returned") == ["operator:grace"]
    assert logged(shop)[-1] == ("grace", "return", str(shipped), "done")


def test_units_may_come_back_into_no_stock_and_for_no_money(
    grace: Browser, shop: Mill, shipped: int
) -> None:
    page = grace.text(f"/orders/{shipped}/return?choose=yes&line_1=1&restock=none")
    grace.do(f"/orders/{shipped}/return", "?choose=yes&line_1=1&restock=none")

    assert "They are put into no stock." in page
    assert "No money is given back with them." in page
    assert on_hand(shop) == 97
    assert shop.timeline(shipped)[-1] == "returned"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("line_1=1", "say where the units go"),
        ("line_1=4&restock=none", "lines.1: got 4, expected 1 to 3 units"),
        ("restock=none", "lines: got none, expected units of a line"),
        ("line_1=1&restock=at:", "location: expected 1 to 32 printable characters"),
    ],
)
def test_what_can_not_come_back_is_told_where_it_is_asked_for(
    grace: Browser, shop: Mill, shipped: int, asked: str, says: str
) -> None:
    answer = grace.get(f"/orders/{shipped}/return?choose=yes&{asked}")

    assert (answer.status_code, says in answer.text) == (422, True)
    assert shop.timeline(shipped)[-1] == "shipped"


def test_money_that_goes_back_asks_for_the_password_again(
    grace: Browser, shop: Mill, shipped: int, database: Database
) -> None:
    with database.transaction() as tx:
        tx.execute(operator_sessions.update().values(confirmed_at=now(-301)))
    path, goods = f"/orders/{shipped}/return", "?choose=yes&line_1=1&restock=none"

    for_goods = grace.text(path + goods)
    for_money = grace.text(f"{path}{goods}&refund=yes")
    without = grace.do(path, f"{goods}&refund=yes")
    right = grace.do(path, f"{goods}&refund=yes", password="correct horse battery")

    assert "Your password, again" not in for_goods
    assert "Your password, again" in for_money
    assert (without.status_code, right.status_code) == (403, 200)
    assert shop.timeline(shipped).count("returned") == 1


# --- What an order's page offers --------------------------------------------------------------------


def offered(grace: Browser, order: int) -> set[str]:
    page = grace.text(f"/orders/{order}")
    acts = ("fulfil", "return", "cancel", "refund")
    return {act for act in acts if f"/console/orders/{order}/{act}" in page}


def test_a_page_offers_what_can_be_done(grace: Browser, order: int) -> None:
    sold = offered(grace, order)
    grace.do(f"/orders/{order}/fulfil", "?choose=yes&line_1=1")
    in_part = offered(grace, order)
    grace.do(f"/orders/{order}/fulfil", "?choose=yes")
    all_of_it = offered(grace, order)

    assert sold == {"fulfil", "cancel", "refund"}
    assert in_part == {"fulfil", "return", "cancel", "refund"}
    assert all_of_it == {"return", "refund"}


def test_what_is_left_of_a_part_shipped_order_is_cancelled(
    grace: Browser, shop: Mill, order: int
) -> None:
    grace.do(f"/orders/{order}/fulfil", "?choose=yes&line_1=1")

    page = grace.text(f"/orders/{order}/cancel")
    answer = grace.do(f"/orders/{order}/cancel")

    assert "2 × MUG-01, 1 × TEE-01 will never leave" in page
    assert "Their share of the order is 40.00 EUR." in page
    assert shop.status(order) == "confirmed"
    assert "Cancelled" in answer.text
    assert on_hand(shop) == 99


def test_a_viewer_is_shown_what_left_and_can_not_ship(
    browser: Open, grace: Browser, shipped: int
) -> None:
    viewer = browser("viewer")

    page = viewer.text(f"/orders/{shipped}")
    refused = viewer.get(f"/orders/{shipped}/return")

    assert "Shipments" in page
    assert f"/console/orders/{shipped}/return" not in page
    assert refused.status_code == 403
