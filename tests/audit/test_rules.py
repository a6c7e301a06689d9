"""For each rule: a shop that keeps it, and a planted defect that it finds and names."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from pipeline.audit.audit import Report, audit
from pipeline.audit.rule import Checked
from pipeline.audit.rules import RULES
from pipeline.fulfilment import ship, take_back
from pipeline.inventory.shipping import Return, Shipment
from pipeline.operations import cancel
from pipeline.payments.gateway import BookEntry
from pipeline.payments.sandbox import SandboxGateway
from pipeline.source import Policy
from pipeline.storage import archive
from tests.support import MUG, POSTER, TEE, Mill

MakeMill = Callable[..., Mill]
CONFIRMED, REJECTED, CANCELLED, ON_HOLD, WAITING, FULL, PART, NEW = range(1, 9)

#: No tax, and nothing but for who asks for it: FULL does.
PRICING = {
    "shipping": {"methods": {"post": {"name": "Post", "rates": [{"price": {"EUR": "4.90"}}]}}},
    "promotions": [
        {"id": "ten", "name": "Ten off", "effect": {"type": "percent", "percent": 10}},
        {
            "id": "post",
            "name": "Half the postage",
            "target": "shipping",
            "effect": {"type": "percent", "percent": 50},
        },
    ],
    "coupons": [{"code": "TEN", "promotions": ["ten", "post"], "limit": 5}],
}


class Gateway(SandboxGateway):
    """A sandbox whose book can be falsified, line by line."""

    def __init__(self) -> None:
        super().__init__(None)
        self.falsify: Callable[[BookEntry], list[BookEntry]] = lambda entry: [entry]
        self.before: Callable[[], object] = lambda: None
        self.after: Callable[[], object] = lambda: None

    def book(self) -> Iterator[BookEntry]:
        self.before()
        entries = list(super().book())
        self.after()
        for entry in entries:
            yield from self.falsify(entry)


@pytest.fixture(params=["capture_first", "reserve_first"])
def chain(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def shop(mill: MakeMill) -> Mill:
    return a_shop(mill, "capture_first")


def a_shop(mill: MakeMill, chain: str) -> Mill:
    """One order at each end that an order can come to, one that waits and one that is new. Of PART,
    three posters, two were shipped, one of them came back, and the third was cancelled. REJECTED is
    in the archive."""
    policy = Policy.model_validate({"chain": chain})
    shop = mill(gateway=Gateway(), policy=policy, rules=PRICING).stocked(units=50, backorder=True)
    assert shop.accept(lines=[(MUG, 2), (TEE, 1)], total="40.00") == CONFIRMED
    assert shop.accept(lines=[("MUG-99", 1)]) == REJECTED
    assert shop.accept() == CANCELLED
    assert shop.accept(method="pm_crash") == ON_HOLD
    shop.turn()
    assert shop.accept(lines=[(TEE, 1000)]) == WAITING
    assert shop.accept(lines=[(POSTER, 1)], coupons=["ten"], shipping_method="post") == FULL
    assert shop.accept(lines=[(POSTER, 3)]) == PART
    shop.turn()
    with shop.database.transaction() as tx:
        cancel(tx, CANCELLED, "ada")
        ship(tx, [Shipment(PART, "P-1", {1: 2})], "ada")
        take_back(tx, Return(PART, "R-1", {1: 1}, "main"), "ada")
        cancel(tx, PART, "ada")
    shop.turn()
    shop.payment_tasks.run()
    shop.gateway_events.poll()
    assert shop.accept() == NEW
    with shop.database.transaction() as tx:
        assert archive.move(tx, [REJECTED]) == 1
    return shop


def plant(shop: Mill, *statements: str) -> None:
    with shop.database.transaction() as tx:
        for statement in statements:
            tx.execute(text(statement))


def report(shop: Mill) -> Report:
    return audit(shop.database, shop.gateways)


def verdict(shop: Mill, rule: str) -> Checked:
    alone = [known for known in RULES if known.name == rule]
    (checked,) = audit(shop.database, shop.gateways, alone).rules
    return checked


def names(report: Report) -> list[str]:
    return [checked.rule.name for checked in report.rules if checked.broken]


def test_a_sound_shop_keeps_every_rule_and_every_rule_looks_at_something(
    mill: MakeMill, chain: str
) -> None:
    shop = a_shop(mill, chain)

    found = report(shop)

    assert [f.what for checked in found.rules for f in checked.findings] == []
    assert found.is_clean
    assert [checked.rule.name for checked in found.rules if not checked.checked] == []


def test_a_shop_at_work_keeps_every_rule_at_every_moment(mill: MakeMill, chain: str) -> None:
    shop = mill(
        gateway=Gateway(), policy=Policy.model_validate({"chain": chain}), serves=[]
    ).stocked()
    for method in ("pm_card_visa", "pm_timeout_after", "pm_error_500", "pm_card_declined"):
        shop.accept(method=method)

    for _ in range(12):
        for step in ("validate", "price", "pay", "reserve", "undo_reserve", "notify"):
            assert names(report(shop)) == []
            shop.make_due()
            shop.engine.work(step)

    assert sorted(r.status for r in shop.query("SELECT status FROM orders")) == [
        *(["cancelled"] if chain == "reserve_first" else []),
        *["confirmed"] * 3,
        *(["rejected"] if chain == "capture_first" else []),
    ]


def test_a_rule_is_named_as_its_file() -> None:
    for rule in RULES:
        assert importlib.import_module(f"pipeline.audit.rules.{rule.name}").RULE is rule


#: rule → what is planted, and a part of what is then said.
DEFECTS: list[tuple[str, list[str], str]] = [
    (
        "accepted_whole",
        [f"DELETE FROM order_documents WHERE order_id = {NEW}"],
        "order 8 has no document",
    ),
    (
        "accepted_whole",
        [f"UPDATE events SET kind = 'advanced' WHERE order_id = {NEW}"],
        "order 8 has no receipt",
    ),
    (
        "accepted_once",
        [
            "DROP INDEX one_orders",
            "UPDATE orders SET external_id = 'web-twice' WHERE id IN (1, 3)",
        ],
        "2 orders of source 1 are web-twice",
    ),
    (
        "no_orphans",
        [f"UPDATE order_lines SET order_id = 77 WHERE order_id = {CONFIRMED}"],
        "2 rows of order_lines are of order 77, which doesn't exist",
    ),
    (
        "no_orphans",
        [f"UPDATE order_lines SET order_id = {REJECTED} WHERE order_id = {CONFIRMED}"],
        "2 rows of order_lines are of order 2, which doesn't exist",
    ),
    (
        "in_one_place",
        [f"UPDATE archived_orders SET id = {NEW}"],
        "is live, and archived as 8",
    ),
    (
        "in_one_place",
        [
            "UPDATE archived_orders SET external_id = "
            f"(SELECT external_id FROM orders WHERE id = {NEW})"
        ],
        "is live, and archived as 2",
    ),
    (
        "archive_folds",
        ["UPDATE archived_orders SET id = 70"],
        "what is archived as order 70 holds another order",
    ),
    (
        "archive_folds",
        ["UPDATE archived_orders SET status = 'cancelled'"],
        "what is archived as order 2 has another status",
    ),
    (
        "archive_folds",
        ["UPDATE archived_orders SET digest = 'another'"],
        "what is archived as order 2 has another document",
    ),
    (
        "archive_folds",
        ["UPDATE archived_orders SET total = 5"],
        "what is archived as order 2 has another total",
    ),
    (
        "archive_folds",
        ["""UPDATE archived_orders SET body = replace(body, '"from_status"', '"from"')"""],
        "what is archived as order 2 has an event that doesn't begin where the last ended",
    ),
    (
        "archive_folds",
        ["UPDATE archived_orders SET body = replace(body, '\"events\"', '\"gone\"')"],
        "what is archived as order 2 has no timeline",
    ),
    (
        "archive_is_paid",
        ["UPDATE archived_orders SET status = 'confirmed', total = 5"],
        "archived order 2 is confirmed and was not paid (0 captured of 5",
    ),
    (
        "archive_is_paid",
        [f"UPDATE payment_operations SET order_id = {REJECTED} WHERE order_id = {CONFIRMED}"],
        "archived order 2 is rejected and keeps what it captured",
    ),
    (
        "archive_is_paid",
        [f"UPDATE coupon_redemptions SET order_id = {REJECTED}"],
        "archived order 2 is rejected and keeps a coupon",
    ),
    (
        "archive_is_paid",
        [f"UPDATE reservations SET order_id = {REJECTED} WHERE order_id = {CONFIRMED}"],
        "archived order 2 is rejected and holds stock",
    ),
    (
        "in_one_dispatch",
        [f"DELETE FROM dispatches WHERE order_ids = '[{NEW}]'"],
        "order 8 is received at validate, and in 0 dispatches",
    ),
    (
        "in_one_dispatch",
        [f"UPDATE dispatches SET order_ids = '[{WAITING},{NEW}]', size = 2"],
        "order 5 is backordered at reserve, and in 2 dispatches",
    ),
    (
        "in_one_dispatch",
        ["UPDATE dispatches SET step = 'price' WHERE step = 'validate'"],
        "(step: price)",
    ),
    (
        "dispatches_name_the_unsettled",
        [f"UPDATE dispatches SET order_ids = '[{ON_HOLD},{NEW}]' WHERE step = 'validate'"],
        "names order 4, which is on_hold",
    ),
    (
        "dispatches_name_the_unsettled",
        [f"UPDATE dispatches SET order_ids = '[{NEW},77]' WHERE step = 'validate'"],
        "names order 77, which is unknown",
    ),
    ("dispatch_size", ["UPDATE dispatches SET size = 9 WHERE step = 'validate'"], "holds 1"),
    (
        "dispatch_size",
        ["UPDATE dispatches SET order_ids = '[]' WHERE step = 'validate'"],
        "of validate says that it holds 1 orders, and holds 0",
    ),
    (
        "timeline",
        [f"DELETE FROM events WHERE order_id = {CONFIRMED} AND seq = 3"],
        "event 4 of order 1 (from priced to paid) comes after a gap",
    ),
    (
        "timeline",
        [
            f"UPDATE events SET from_status = 'paid' WHERE order_id = {CONFIRMED} AND seq = 4",
        ],
        "doesn't begin where the last ended",
    ),
    (
        "timeline",
        [
            f"UPDATE events SET to_status = 'paid' WHERE order_id = {CONFIRMED} AND seq = 2",
            f"UPDATE events SET from_status = 'paid' WHERE order_id = {CONFIRMED} AND seq = 3",
        ],
        "(from received to paid) is no legal move",
    ),
    (
        "timeline",
        [f"UPDATE orders SET status = 'reserved' WHERE id = {CONFIRMED}"],
        "isn't where it is; the order is reserved",
    ),
    (
        "timeline",
        [f"UPDATE orders SET version = version + 1 WHERE id = {CONFIRMED}"],
        "isn't the last by the row's version",
    ),
    (
        "timeline",
        [f"DELETE FROM events WHERE order_id = {CONFIRMED} AND seq = 6"],
        "event 5 of order 1 (from paid to reserved) isn't where it is",
    ),
    (
        "settled_at",
        [f"UPDATE orders SET settled_at = NULL WHERE id = {CONFIRMED}"],
        "order 1 is confirmed, and was settled at None",
    ),
    (
        "settled_at",
        [f"UPDATE orders SET settled_at = accepted_at WHERE id = {NEW}"],
        "order 8 is received, and was settled at 20",
    ),
    ("quote_adds_up", [f"DELETE FROM quotes WHERE order_id = {CONFIRMED}"], "order 1 has no quote"),
    (
        "quote_adds_up",
        [f"DELETE FROM order_lines WHERE order_id = {CONFIRMED}"],
        "order 1 has a quote without lines",
    ),
    (
        "quote_adds_up",
        [f"UPDATE order_lines SET net = net - 1 WHERE order_id = {CONFIRMED} AND line_no = 1"],
        "order 1 has a line whose net and tax don't sum to its gross",
    ),
    (
        "quote_adds_up",
        [f"UPDATE quotes SET total = total + 1 WHERE order_id = {ON_HOLD}"],
        "order 4 is not what its lines and shipping sum to: total 2001, lines 2000, shipping 0",
    ),
    (
        "quote_adds_up",
        [f"UPDATE quotes SET shipping_net = shipping_net - 1 WHERE order_id = {FULL}"],
        "order 6 is not what its lines and shipping sum to: total 695, lines 450, shipping 244",
    ),
    (
        "quote_adds_up",
        [f"UPDATE order_lines SET discount = 49 WHERE order_id = {FULL}"],
        "order 6 has a line that isn't its price less its discount",
    ),
    (
        "quote_adds_up",
        [f"UPDATE quotes SET shipping_price = 491 WHERE order_id = {FULL}"],
        "order 6 has shipping that isn't its price less its discount",
    ),
    (
        "never_above_shown",
        [f"UPDATE order_documents SET total_shown = 1 WHERE order_id = {CONFIRMED}"],
        "order 1 states a total of 1, costs 4000, and 4000 are kept of it",
    ),
    (
        "discounts_explained",
        [f"UPDATE order_lines SET discount = 1 WHERE order_id = {CONFIRMED} AND line_no = 2"],
        "line 2 of order 1 is 1 off, the steps explain 0",
    ),
    (
        "discounts_explained",
        [f"UPDATE quotes SET shipping_discount = 0 WHERE order_id = {FULL}"],
        "line shipping of order 6 is 0 off, the steps explain 245",
    ),
    (
        "coupons_held",
        [f"DELETE FROM coupon_redemptions WHERE order_id = {FULL}"],
        "order 6 was priced with 1 of coupon TEN, and redeems 0",
    ),
    (
        "coupons_held",
        [f"UPDATE coupon_redemptions SET order_id = {CONFIRMED}"],
        "order 1 was priced with 0 of coupon TEN, and redeems 1",
    ),
    (
        "coupons_held",  # it has taken units while it waits for the rest, but gave no coupon
        [f"UPDATE coupon_redemptions SET order_id = {WAITING}"],
        "order 5 was priced with 0 of coupon TEN, and redeems 1",
    ),
    (
        "coupons_returned",  # it waits, and has taken no unit yet
        [
            f"DELETE FROM reservations WHERE order_id = {WAITING}",
            f"UPDATE coupon_redemptions SET order_id = {WAITING}",
        ],
        "order 5 is backordered and redeems coupon TEN",
    ),
    (
        "coupons_returned",
        [f"UPDATE coupon_redemptions SET order_id = {CANCELLED}"],
        "order 3 is cancelled and redeems coupon TEN",
    ),
    (
        "coupons_counted",
        ["DELETE FROM coupon_redemptions"],
        "coupon TEN of default (customer: ) counts 1 uses, 0 orders redeem it",
    ),
    (
        "coupons_counted",
        ["DELETE FROM coupon_uses WHERE customer <> ''"],
        "counts 0 uses, 1 orders redeem it",
    ),
    (
        "coupons_in_bounds",
        ["UPDATE coupon_uses SET used = 6 WHERE customer = ''"],
        "coupon TEN of default (customer: ) is used 6 times, 5 are allowed",
    ),
    (
        "coupons_in_bounds",
        ["UPDATE coupon_uses SET used = -1 WHERE customer = ''"],
        "is used -1 times",
    ),
    (
        "captured_once",
        [f"DELETE FROM payment_operations WHERE order_id = {CONFIRMED}"],
        "order 1 is confirmed: 0 were captured, 4000 are due",
    ),
    (
        "captured_once",
        [f"UPDATE payment_operations SET order_id = {NEW} WHERE order_id = {CONFIRMED}"],
        "order 8 is received: 4000 were captured, 0 are due",
    ),
    (
        "captured_once",
        [
            "INSERT INTO payment_operations (order_id, key, state, kind, amount, currency,"
            " gateway, at) SELECT order_id, 'twice', state, kind, amount, currency, gateway, at"
            f" FROM payment_operations WHERE order_id = {CONFIRMED} AND kind = 'capture'"
        ],
        "order 1 is confirmed: 8000 were captured, 4000 are due",
    ),
    (
        "money_in_bounds",
        ["UPDATE payment_operations SET amount = 2500 WHERE order_id = 3 AND kind = 'refund'"],
        "2000 captured, 2500 refunded",
    ),
    (
        "money_in_bounds",
        ["UPDATE payment_operations SET amount = 10 WHERE order_id = 1 AND kind = 'authorize'"],
        "10 were authorized, 4000 captured",
    ),
    (
        "money_in_bounds",
        ["UPDATE quotes SET total = 3999 WHERE order_id = 1"],
        "of order 1, which costs 3999, 4000 were authorized, 4000 captured, 0 refunded",
    ),
    (
        "money_returned",
        ["DELETE FROM payment_operations WHERE order_id = 3 AND kind = 'refund'"],
        "order 3 is cancelled and keeps what it captured (2000 kept)",
    ),
    (
        "money_returned",
        ["DELETE FROM payment_operations WHERE order_id = 3 AND kind <> 'authorize'"],
        "order 3 is cancelled and keeps an authorization",
    ),
    (
        "money_returned",
        [
            "DELETE FROM payment_operations"
            " WHERE order_id = 3 AND kind = 'authorize' AND state = 'succeeded'"
        ],
        "order 3 is cancelled and left a payment operation open",
    ),
    (
        "operations_end_once",
        ["DELETE FROM payment_operations WHERE order_id = 1 AND state = 'requested'"],
        "of order 1 was never requested",
    ),
    (
        "operations_end_once",
        [
            "INSERT INTO payment_operations (order_id, key, state, kind, amount, currency,"
            " gateway, at) SELECT order_id, key, 'failed', kind, amount, currency, gateway, at"
            " FROM payment_operations WHERE order_id = 1 AND state = 'succeeded'"
        ],
        "of order 1 both succeeded and failed",
    ),
    (
        "operations_end_once",
        ["UPDATE payment_operations SET amount = 1 WHERE order_id = 1 AND state = 'succeeded'"],
        "of order 1 ended as something else than was requested",
    ),
    (
        "captured_once",
        [
            "DELETE FROM payment_operations"
            " WHERE order_id = 1 AND kind = 'capture' AND state = 'succeeded'"
        ],
        "order 1 is confirmed: 0 were captured, 4000 are due",
    ),
    (
        "money_in_bounds",
        [
            "INSERT INTO payment_operations (order_id, key, state, kind, amount, currency,"
            " gateway, at) SELECT order_id, 'du_1', state, 'dispute', 2001, currency, gateway, at"
            " FROM payment_operations"
            " WHERE order_id = 3 AND kind = 'refund' AND state = 'succeeded'"
        ],
        "2000 captured, 2000 refunded, 2001 lost",
    ),
    (
        "operations_have_tasks",
        [
            "INSERT INTO payment_operations (order_id, key, state, kind, amount, currency,"
            " gateway, at) SELECT order_id, 'r1', 'requested', 'refund', 700, currency, gateway,"
            " at FROM payment_operations"
            " WHERE order_id = 1 AND kind = 'authorize' AND state = 'requested'"
        ],
        "refund r1 over 700 of order 1 is open, and nobody will do it",
    ),
    (
        "one_effect_an_event",
        [
            "INSERT INTO payment_operations (order_id, key, state, kind, amount, currency,"
            f" gateway, reference, at) SELECT {order}, 're_1', 'succeeded', 'refund', 700,"
            " currency, gateway, 're_1', at FROM payment_operations"
            " WHERE order_id = 1 AND kind = 'authorize' AND state = 'requested'"
            for order in (CONFIRMED, NEW)
        ],
        f"re_1 of sandbox is on 2 orders, the latest is {NEW}",
    ),
    (
        "ours_in_the_book",
        ["UPDATE payment_operations SET key = 'mine' WHERE order_id = 1 AND kind = 'capture'"],
        "capture mine of order 1 over 4000 EUR is not in the gateway's book",
    ),
    (
        "ours_in_the_book",
        ["UPDATE payment_operations SET amount = 4001 WHERE order_id = 1 AND kind = 'capture'"],
        "over 4001 EUR is another there: capture (booked: 4000)",
    ),
    (
        "book_is_ours",
        ["DELETE FROM payment_operations WHERE order_id = 1 AND kind = 'capture'"],
        "over 4000 in the book is none of our operations",
    ),
    (
        "book_is_ours",
        [
            "UPDATE payment_operations SET state = 'failed'"
            " WHERE order_id = 1 AND kind = 'capture' AND state = 'succeeded'"
        ],
        "over 4000 in the book is one that we say failed (order 1, confirmed)",
    ),
    (
        "book_is_ours",
        [
            "UPDATE payment_operations SET state = 'unknown'"
            " WHERE order_id = 1 AND kind = 'capture' AND state = 'succeeded'"
        ],
        "one whose outcome nobody will ask for (order 1, confirmed)",
    ),
    (
        "stock_held",
        ["UPDATE reservations SET quantity = 1 WHERE order_id = 1 AND line_no = 1"],
        "line 1 of order 1 wants 2 of MUG-01, and holds 1",
    ),
    (
        "stock_held",
        ["DELETE FROM reservations WHERE order_id = 1"],
        "line 2 of order 1 wants 1 of TEE-01, and holds 0",
    ),
    (
        "stock_held",
        [
            "INSERT INTO reservations (order_id, line_no, location, sku, quantity)"
            " VALUES (1, 3, 'main', 'POSTER-01', 7)"
        ],
        "line 3 of order 1 wants 0 of POSTER-01, and holds 7",
    ),
    (
        "backorders_queued",
        [f"DELETE FROM backorders WHERE order_id = {WAITING}"],
        "order 5 is backordered and waits for nothing",
    ),
    (
        "backorders_queued",
        [
            "INSERT INTO backorders (sku, order_id, units, since, movement)"
            f" SELECT sku, {CONFIRMED}, units, since, movement FROM backorders"
        ],
        "order 1 is confirmed and waits for stock it won't take",
    ),
    (
        "backorders_queued",
        [
            "INSERT INTO backorders (sku, order_id, units, since, movement)"
            f" SELECT sku, {CANCELLED}, units, since, movement FROM backorders"
        ],
        "order 3 is cancelled and waits for stock it won't take",
    ),
    (
        "awaits_the_rest",
        ["UPDATE backorders SET units = units + 1"],
        "order 5 wants 1000 of TEE-01, holds 49 and waits for 952",
    ),
    (
        "awaits_the_rest",
        [f"DELETE FROM reservations WHERE order_id = {WAITING}"],
        "order 5 wants 1000 of TEE-01, holds 0 and waits for 951",
    ),
    (
        "nobody_overtaken",
        [
            "INSERT INTO stock_movements"
            " (sku, location, kind, quantity, promised, reference, actor, at)"
            f" SELECT sku, 'main', 'reservation', 0, 3, 'order {NEW}', 'ada', since FROM backorders"
        ],
        "order 8 got 3 of TEE-01, for which order 5 has waited, accepted earlier",
    ),
    (
        "stock_returned",
        [
            "INSERT INTO reservations (order_id, line_no, location, sku, quantity)"
            " VALUES (3, 1, 'main', 'MUG-01', 2)"
        ],
        "order 3 is cancelled and holds 2 units",
    ),
    (
        "stock_held",
        [f"DELETE FROM cancelled_lines WHERE order_id = {PART}"],
        "line 1 of order 7 wants 3 of POSTER-01, and holds 2 (or they were shipped, or cancelled)",
    ),
    (
        "shipped_as_ordered",
        ["UPDATE shipment_lines SET units = 4"],
        "of line 1 of order 7, confirmed, 4 of 3 POSTER-01 were shipped: too many",
    ),
    (
        "shipped_as_ordered",
        [f"UPDATE orders SET status = 'cancelled' WHERE id = {PART}"],
        "of line 1 of order 7, cancelled, 2 of 3 POSTER-01 were shipped: none may be",
    ),
    (
        "returned_as_shipped",
        ["UPDATE return_lines SET units = 3"],
        "of line 1 of order 7, 2 of POSTER-01 were shipped, 3 came back",
    ),
    (
        "goods_in_ledger",
        ["UPDATE stock_movements SET quantity = -1 WHERE kind = 'shipment'"],
        "POSTER-01 at main: the orders' lines of kind shipment sum to -2, the ledger's to -1",
    ),
    (
        "goods_in_ledger",
        ["UPDATE returns SET location = NULL"],
        "POSTER-01 at main: the orders' lines of kind return sum to 0, the ledger's to 1",
    ),
    (
        "cancelled_refunded",
        [f"DELETE FROM payment_operations WHERE order_id = {PART} AND kind = 'refund'"],
        "of order 7 1 units were cancelled, so that it costs 1000: 1500 were kept",
    ),
    (
        "captured_once",
        [f"UPDATE cancelled_lines SET unpaid = 1 WHERE order_id = {PART}"],
        "order 7 is confirmed: 1500 were captured, 1499 are due",
    ),
    (
        "ledger",
        ["UPDATE stock_movements SET quantity = 49 WHERE sku = 'MUG-01' AND kind = 'receipt'"],
        "MUG-01 at main: 50 on hand, the movements sum to 49",
    ),
    (
        "ledger",
        ["DELETE FROM stock_levels WHERE sku = 'TEE-01'"],
        "TEE-01 at main: 0 on hand, the movements sum to 50",
    ),
    (
        "promises",
        ["DELETE FROM reservations WHERE order_id = 1 AND sku = 'TEE-01'"],
        "TEE-01 at main: 50 reserved, the orders' reservations sum to 49",
    ),
    (
        "promises_in_ledger",
        ["DELETE FROM stock_movements WHERE reference = 'order 1' AND sku = 'TEE-01'"],
        "TEE-01 at main: 50 reserved, the movements promise 49",
    ),
    (
        "promises_in_ledger",
        ["UPDATE stock_movements SET promised = 0 WHERE kind = 'shipment'"],
        "POSTER-01 at main: 1 reserved, the movements promise 3",
    ),
    (
        "promises_in_ledger",
        ["UPDATE stock_levels SET reserved = 0 WHERE sku = 'TEE-01'"],
        "TEE-01 at main: 0 reserved, the movements promise 50",
    ),
    (
        "not_oversold",
        ["UPDATE stock_levels SET reserved = 51 WHERE sku = 'MUG-01'"],
        "MUG-01 at main: 51 reserved of 50 on hand",
    ),
    (
        "not_oversold",
        ["UPDATE stock_levels SET reserved = -1 WHERE sku = 'MUG-01'"],
        "MUG-01 at main: -1 reserved of 50 on hand",
    ),
]


def _planted() -> Iterator[Any]:
    """Each defect on SQLite, the first of each rule on Postgres, too: one statement serves both."""
    rules = set[str]()
    for rule, statements, said in DEFECTS:
        for home in ("sqlite",) if rule in rules else ("sqlite", "postgres"):
            yield pytest.param(home, rule, statements, said, id=f"{home}-{rule}-{said}")
        rules.add(rule)


@pytest.mark.parametrize(
    ("database", "rule", "statements", "said"), list(_planted()), indirect=["database"]
)
def test_a_planted_defect_is_found_and_named(
    shop: Mill, rule: str, statements: list[str], said: str
) -> None:
    plant(shop, *statements)

    found = verdict(shop, rule)

    assert said in " / ".join(finding.what for finding in found.findings)
    assert found.broken == len(found.findings)


def test_every_rule_has_a_defect_that_is_found() -> None:
    in_the_book_only = {"one_capture_in_the_book"}

    assert {rule for rule, _, _ in DEFECTS} | in_the_book_only == {rule.name for rule in RULES}


def test_findings_carry_what_they_are_about(shop: Mill) -> None:
    plant(
        shop,
        "UPDATE payment_operations SET key = 'mine' WHERE order_id = 1 AND kind = 'capture'",
        "UPDATE stock_levels SET reserved = -1 WHERE sku = 'MUG-01'",
    )

    (operation,) = verdict(shop, "ours_in_the_book").findings
    (level,) = verdict(shop, "not_oversold").findings

    assert (operation.rule, operation.order_id, operation.key) == ("ours_in_the_book", 1, "mine")
    assert (level.order_id, level.sku, level.key) == (None, MUG, None)


def test_many_findings_are_counted_and_some_told(shop: Mill) -> None:
    for _ in range(120):
        shop.accept()
    plant(shop, "DELETE FROM dispatches")

    found = verdict(shop, "in_one_dispatch")

    assert (found.checked, found.broken, len(found.findings)) == (122, 122, 100)


def test_a_second_capture_in_the_book_is_found(shop: Mill) -> None:
    """As a gateway makes one that forgets our key and is asked again under another."""
    plant(
        shop,
        "INSERT INTO payment_operations (order_id, key, state, kind, amount, currency, gateway, at)"
        " SELECT order_id, 'again', state, kind, amount, currency, gateway, at"
        " FROM payment_operations"
        " WHERE order_id = 1 AND kind = 'capture' AND state = 'requested'",
        "INSERT INTO payment_tasks (order_id, key, attempts, due_at)"
        " SELECT order_id, key, 0, at FROM payment_operations WHERE key = 'again'",
    )
    captures = [e for e in shop.gateway.book() if e.kind == "capture" and e.amount == 4000]
    again = replace(captures[0], key="again")
    falsify(shop, lambda entry: [entry, again] if entry == captures[0] else [entry])

    assert names(report(shop)) == ["one_capture_in_the_book"]
    (finding,) = verdict(shop, "one_capture_in_the_book").findings
    assert finding.what == "order 1 has 2 captures in the book, 8000 in all"


def test_a_key_that_was_done_twice_is_found(shop: Mill) -> None:
    """As a gateway does that ignores idempotency keys."""
    falsify(shop, lambda e: [e, e] if (e.kind, e.amount) == ("refund", 2000) else [e])

    (finding,) = verdict(shop, "book_is_ours").findings

    assert "is in the book more than once (order 3, cancelled)" in finding.what


def falsify(shop: Mill, how: Callable[[BookEntry], list[BookEntry]]) -> None:
    assert isinstance(shop.gateway, Gateway)
    shop.gateway.falsify = how


def test_a_charge_whose_answer_is_awaited_is_no_defect(mill: MakeMill) -> None:
    """It is in the book, and ours is `unknown`: the order, under way or held, will ask."""
    shop = mill(gateway=Gateway()).stocked()
    order = shop.accept(method="pm_timeout_after")
    shop.turn(impatient=False)
    assert (shop.status(order), shop.row(order).reason) == ("priced", "payment_unknown")

    assert names(report(shop)) == []


@pytest.mark.parametrize("moment", ["before", "after"])
def test_orders_paid_while_the_book_is_read_are_no_defects(shop: Mill, moment: str) -> None:
    """Whether the reading still meets the new lines or not."""
    setattr(shop.gateway, moment, shop.turn)

    found = report(shop)

    assert shop.status(NEW) == "confirmed"
    assert names(found) == []


def test_who_is_exempt_pays_less_than_a_price_that_includes_tax_and_breaks_no_rule(
    mill: MakeMill,
) -> None:
    vat = {"name": "DE", "country": "*", "rates": {"standard": [{"name": "VAT", "rate": "0.19"}]}}
    exempt = {"zones": [vat], "exempt_groups": ["embassy"]}
    shop = mill(gateway=Gateway(), rules={"includes_tax": True, "tax": exempt}).stocked()
    for group in ("embassy", "neighbours"):
        shop.accept(customer={"group": group})
    shop.turn()

    assert names(report(shop)) == []
    assert shop.query("SELECT total FROM quotes ORDER BY order_id") == [(1681,), (2000,)]


def test_an_audit_leaves_nothing_behind(shop: Mill) -> None:
    report(shop)

    assert names(report(shop)) == []  # it could not make its table again
