"""The client and the real API: what one says the other understands, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from ordermill_client import (
    Conflict,
    Forbidden,
    Invalid,
    KeyReused,
    NotAllowedNow,
    NotFound,
    Unauthenticated,
    VersionPassed,
)

from client.tests.conftest import MakeClient, turning
from tests.support import Mill, an_order
from tests.web.conftest import MakeKey


def test_an_order_is_placed_once_followed_and_refunded(
    url: str, make_client: MakeClient, make_key: MakeKey, shop: Mill
) -> None:
    client = make_client(url, make_key())
    order = an_order(external_id="web-1001")

    placed, again = client.place(order), client.place(order)
    with turning(shop):
        settled = client.wait_until_settled(placed.id)
    asked = client.refund(placed.id, amount=Decimal("1.50"), idempotency_key="rma-1")
    repeated = client.refund(placed.id, amount="1.50", idempotency_key="rma-1")

    assert (placed.verdict, again.verdict, again.id) == ("accepted", "duplicate", placed.id)
    assert (settled.status, settled.total, settled.payment_status) == (
        "confirmed", "20.00", "captured",
    )  # fmt: skip
    assert [line.sku for line in settled.lines] == ["MUG-01"]
    assert (asked.amount, asked) == ("1.50", repeated)
    kinds = [event.kind for event in client.timeline(placed.id)]
    assert kinds[0] == "received"
    assert kinds.count("advanced") == 5
    [listed] = client.orders(external_id="web-1001", status="confirmed")
    assert listed.id == placed.id


def test_every_refusal_is_an_error_of_its_own(
    url: str, make_client: MakeClient, make_key: MakeKey, shop: Mill
) -> None:
    client, order = make_client(url, make_key()), an_order(external_id="web-1001")
    placed = client.place(order)

    with pytest.raises(Conflict) as conflict:
        client.place({**order, "currency": "USD"})
    with pytest.raises(Invalid) as invalid:
        client.place({**order, "currency": "EURO", "lines": [{"sku": "MUG-01", "quantity": 0}]})
    with pytest.raises(NotFound, match="there is no order 77"):
        client.order(77)
    with pytest.raises(NotAllowedNow):
        client.requeue(placed.id)
    with pytest.raises(VersionPassed):
        client.cancel(placed.id, if_version=99)
    with pytest.raises(Unauthenticated):
        make_client(url, "om_live_x").order(1)
    with pytest.raises(Forbidden):
        client.adjust_stock("MUG-01", 1, "found")

    assert conflict.value.order_id == placed.id
    assert [error.field for error in invalid.value.errors] == ["currency", "lines.0.quantity"]


def test_an_order_is_cancelled_and_a_held_one_put_back_to_work(
    url: str, make_client: MakeClient, make_key: MakeKey, shop: Mill
) -> None:
    client = make_client(url, make_key())
    rejected, held = client.place(an_order(lines=[("MUG-O1", 1)])), client.place(an_order())
    shop.turn()
    with shop.database.transaction() as tx:
        tx.exec_driver_sql(
            "UPDATE orders SET status = 'on_hold', stage = 'pay', held_at = settled_at"
            f" WHERE id = {held.id}"
        )

    back = client.requeue(held.id)
    cancelled = client.cancel(held.id)

    assert client.order(rejected.id).reason == "unknown_sku"
    assert back.status == "priced"
    assert cancelled.version >= back.version
    shop.turn()
    assert client.wait_until_settled(held.id).status == "cancelled"


def test_orders_on_hold_are_decided_about(
    url: str, make_client: MakeClient, make_key: MakeKey, shop: Mill
) -> None:
    client = make_client(url, make_key())
    one, two, three = (client.place(an_order()).id for _ in range(3))
    shop.turn()
    with shop.database.transaction() as tx:
        tx.exec_driver_sql(
            "UPDATE orders SET status = 'on_hold', stage = 'price', reason = 'address_unclear',"
            " held_at = settled_at"
        )

    moved = client.decide(one, ship_to={"city": "Bonn", "region": None})
    done = client.decide_all([two, three], ship_to={"postal_code": "53113"})
    with pytest.raises(NotAllowedNow):
        client.decide(one, vat="tax")

    assert (moved.ship_to, moved.decided) == (
        {**an_order()["ship_to"], "city": "Bonn"}, {"ship_to": {"city": "Bonn", "region": None}},
    )  # fmt: skip
    assert done.decided == 2


def test_a_batch_has_a_verdict_a_line(
    url: str, make_client: MakeClient, make_key: MakeKey, shop: Mill
) -> None:
    client, known = make_client(url, make_key()), an_order(external_id="known")
    client.place(known)
    orders = (an_order() for _ in range(1_500))

    first = list(client.place_all([known, {**known, "currency": "USD"}, {"external_id": "bad"}]))
    verdicts = list(client.place_all(orders))

    assert [v.verdict for v in first] == ["duplicate", "conflict", "rejected"]
    assert (first[1].id, first[2].external_id) == (first[0].id, "bad")
    assert "currency" in {error.field for error in first[2].errors}
    assert [v.line for v in verdicts] == list(range(1, 1_501))
    assert {v.verdict for v in verdicts} == {"accepted"}
    assert shop.query("SELECT count(*) FROM orders") == [(1_501,)]
    assert len(list(client.orders(accepted_since=datetime(2026, 1, 1, tzinfo=UTC)))) == 1_501


def test_the_feed_tells_everything_once_to_who_keeps_its_cursor(
    url: str, make_client: MakeClient, make_key: MakeKey, shop: Mill
) -> None:
    client, told, cursor = make_client(url, make_key()), list[tuple[int, int]](), None

    for _ in range(2):
        list(client.place_all([an_order() for _ in range(30)]))
        for page in client.events(cursor, limit=20):
            told += [(event.order_id, event.seq) for event in page.items]
            cursor = page.next

    assert told == [(n, 1) for n in range(1, 61)]


def test_an_order_is_quoted_and_not_placed(
    url: str, make_client: MakeClient, make_key: MakeKey, shop: Mill
) -> None:
    quote = make_client(url, make_key()).quote(an_order(lines=[("MUG-01", 3)]))

    assert (quote.total, quote.currency, quote.holds) == ("30.00", "EUR", None)
    assert shop.query("SELECT count(*) FROM orders") == [(0,)]


def test_the_shop_s_products_and_stock(
    url: str, make_client: MakeClient, make_key: MakeKey, shop: Mill
) -> None:
    client, sku = make_client(url, make_key(None)), "LAMP 1/2"

    made = client.put_product(
        sku, name="Lamp", prices=[{"currency": "EUR", "price": Decimal("9.90")}]
    )
    client.adjust_stock("MUG-01", -1, "broken", idempotency_key="wms-1")
    adjusted = client.adjust_stock("MUG-01", -1, "broken", idempotency_key="wms-1")
    with pytest.raises(KeyReused):
        client.adjust_stock("MUG-01", -2, "broken", idempotency_key="wms-1")
    counted = client.count_stock("TEE-01", 98, at=datetime.now(UTC) - timedelta(seconds=1))

    assert client.product(sku) == made
    assert made.prices[0].price == "9.90"
    assert sku in [product.sku for product in client.products()]
    assert [level.on_hand for level in adjusted.levels] == [99]
    assert [(level.sku, level.on_hand) for level in client.stock("MUG-01")] == [("MUG-01", 99)]
    assert counted.levels[0].sku == "TEE-01"
    assert client.request("GET", "/v1/queues")[0]["queue"] == "validate"
