"""Orders that wait for stock: first accepted, first served, the moment it arrives."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, text

from pipeline.audit.audit import audit
from pipeline.operations import cancel, requeue
from pipeline.outcome import Hold
from pipeline.source import Policy
from pipeline.storage import backorders, levels, stock
from pipeline.storage.database import Tx
from pipeline.storage.sql import now
from pipeline.storage.stock import Movement
from pipeline.storage.tables import dispatches
from tests.support import MUG, POSTER, TEE, Mill, an_order

MakeMill = Callable[..., Mill]
CODE = {
    "promotions": [{"id": "ten", "name": "Ten off", "effect": {"type": "percent", "percent": 10}}],
    "coupons": [{"code": "TEN", "promotions": ["ten"], "limit": 1}],
}


@pytest.fixture
def shop(mill: MakeMill) -> Mill:
    """Nothing is on the shelves, everything may be waited for."""
    return mill(policy=Policy(email=False)).stocked(units=0, backorder=True)


def waits(shop: Mill, *lines: tuple[str, int], **changes: Any) -> int:
    """An order that has come to wait."""
    order = shop.accept(lines=list(lines), **changes)
    shop.turn()
    assert shop.status(order) == "backordered"
    return order


def holders(shop: Mill) -> list[int]:
    """Orders that have their units."""
    return [r[0] for r in shop.query("SELECT DISTINCT order_id FROM reservations ORDER BY 1")]


def queue(shop: Mill) -> list[tuple[str, int]]:
    found = shop.query("SELECT sku, order_id FROM backorders ORDER BY sku, order_id")
    return [(r.sku, r.order_id) for r in found]


def due(shop: Mill) -> list[int]:
    """Orders whose turn at `reserve` is now."""
    with shop.database.snapshot() as tx:
        found = tx.execute(select(dispatches.c.order_ids).where(dispatches.c.due_at <= now()))
        return sorted(i for order_ids in found.scalars() for i in json.loads(order_ids))


def cancelled(shop: Mill, order: int) -> None:
    with shop.database.transaction() as tx:
        cancel(tx, order, "ada")
    shop.turn()


def broken_rules(shop: Mill) -> list[str]:
    return [finding.what for finding in audit(shop.database, shop.gateways).findings]


# --- What arrives ---------------------------------------------------------------------------------


def test_who_waits_has_the_units_in_the_transaction_that_brings_them(shop: Mill) -> None:
    order = waits(shop, (MUG, 2))
    assert queue(shop) == [(MUG, order)]

    shop.receive(MUG, 2)

    assert (holders(shop), queue(shop), due(shop)) == ([order], [], [order])
    assert broken_rules(shop) == []
    shop.turn(impatient=False)
    assert shop.status(order) == "confirmed"
    assert broken_rules(shop) == []


def test_an_arrival_that_is_rolled_back_serves_nobody(shop: Mill) -> None:
    order = waits(shop, (MUG, 2))

    with shop.database.engine.connect() as tx:
        stock.post(tx, [Movement(MUG, "main", "receipt", 2)], "ada")
        tx.rollback()

    assert (holders(shop), queue(shop), due(shop)) == ([], [(MUG, order)], [])


def test_exactly_those_who_are_served_are_made_due(shop: Mill) -> None:
    orders = [shop.accept(lines=[(MUG, 1)]) for _ in range(5)]
    shop.turn()  # they wait in one dispatch

    shop.receive(MUG, 2)
    first = due(shop)
    shop.receive(MUG, 1)

    assert (first, due(shop)) == (orders[:2], orders[:3])
    assert broken_rules(shop) == []
    shop.turn(impatient=False)
    assert [shop.status(i) for i in orders] == ["confirmed"] * 3 + ["backordered"] * 2
    assert [shop.timeline(i).count("retried") for i in orders] == [1] * 5


def test_one_that_wants_more_is_not_overtaken_by_those_who_want_less(shop: Mill) -> None:
    large, small = waits(shop, (MUG, 5)), waits(shop, (MUG, 1))

    shop.receive(MUG, 4)
    assert holders(shop) == []
    shop.receive(MUG, 2)

    assert holders(shop) == [large, small]


def test_a_newcomer_does_not_overtake_who_waits(shop: Mill) -> None:
    large = waits(shop, (MUG, 5))
    shop.receive(MUG, 4)

    newcomer = waits(shop, (MUG, 1))

    assert queue(shop) == [(MUG, large), (MUG, newcomer)]
    assert holders(shop) == []


def test_one_that_lacks_one_thing_is_in_nobodys_way_for_another(shop: Mill) -> None:
    shop.receive(TEE, 5)
    both = waits(shop, (MUG, 1), (TEE, 1))

    other = shop.accept(lines=[(TEE, 5)])
    shop.turn()

    assert (queue(shop), shop.status(other)) == ([(MUG, both)], "confirmed")


def test_what_it_waits_for_is_what_it_lacks_now(shop: Mill) -> None:
    shop.receive(TEE, 5)
    both, mug = waits(shop, (MUG, 1), (TEE, 1)), waits(shop, (MUG, 1))
    shop.accept(lines=[(TEE, 5)])
    shop.turn()

    shop.receive(MUG, 1)

    assert (queue(shop), both in holders(shop), mug in holders(shop)) == (
        [(TEE, both)],
        False,
        True,
    )
    shop.turn(impatient=False)
    assert broken_rules(shop) == []
    shop.receive(TEE, 1)
    assert queue(shop) == [(MUG, both)]  # the mug went to the other
    shop.receive(MUG, 1)
    shop.turn()
    assert (shop.status(both), queue(shop)) == ("confirmed", [])


def test_an_arrival_of_one_thing_overtakes_nobody_for_another(shop: Mill) -> None:
    shop.receive(TEE, 4)
    tees = waits(shop, (TEE, 5))
    both = waits(shop, (MUG, 1), (TEE, 1))
    assert queue(shop) == [(MUG, both), (TEE, tees), (TEE, both)]

    shop.receive(MUG, 1)

    assert (holders(shop), queue(shop)) == ([], [(TEE, tees), (TEE, both)])
    shop.receive(TEE, 2)
    assert holders(shop) == [tees, both]


def test_two_lines_with_one_sku_wait_for_both(shop: Mill) -> None:
    as_sold = shop.another_source("market", Policy(price_policy="as_sold", email=False))
    lines = [{"sku": MUG, "quantity": 2, "unit_price": p} for p in ("3.00", "4.00")]
    shop.intake.accept_all(as_sold, [an_order() | {"lines": lines}])
    shop.turn()

    shop.receive(MUG, 3)
    too_few = holders(shop)
    shop.receive(MUG, 1)

    assert (too_few, len(holders(shop))) == ([], 1)
    shop.turn()
    assert broken_rules(shop) == []


def test_an_adjustment_upwards_serves_and_one_downwards_does_not(shop: Mill) -> None:
    order = waits(shop, (MUG, 2))

    for units, expected in ((3, [order]), (-1, [order])):
        with shop.database.transaction() as tx:
            assert stock.post(tx, [Movement(MUG, "main", "adjustment", units, "x")], "ada") == []
        assert holders(shop) == expected


def test_safety_stock_is_promised_to_nobody_and_what_is_no_longer_kept_to_who_waits(
    shop: Mill,
) -> None:
    order = waits(shop, (MUG, 2))
    with shop.database.transaction() as tx:
        stock.set_safety(tx, MUG, "main", 3, "ada")

    shop.receive(MUG, 4)
    kept = holders(shop)
    with shop.database.transaction() as tx:
        stock.set_safety(tx, MUG, "main", 2, "ada")

    assert (kept, holders(shop)) == ([], [order])
    with shop.database.snapshot() as tx:
        assert levels.available(tx, [MUG]) == {(MUG, "main"): 0}


def test_one_whose_coupon_has_gone_meanwhile_is_refused_and_in_nobodys_way(mill: MakeMill) -> None:
    policy = Policy(chain="reserve_first", email=False)
    shop = mill(policy=policy, rules=CODE).stocked(units=0, backorder=True)
    first = waits(shop, (MUG, 1), coupons=["TEN"])
    second = waits(shop, (MUG, 1), coupons=["TEN"])
    third = waits(shop, (MUG, 1))

    shop.receive(MUG, 3)

    assert holders(shop) == [first, third]
    assert broken_rules(shop) == []
    shop.turn(impatient=False)
    assert (shop.status(second), shop.row(second).reason) == ("rejected", "coupon_exhausted")
    assert queue(shop) == []
    assert broken_rules(shop) == []


def test_one_that_may_no_longer_wait_is_refused_and_in_nobodys_way(shop: Mill) -> None:
    first, second = waits(shop, (MUG, 2)), waits(shop, (MUG, 1))
    with shop.database.transaction() as tx:
        tx.execute(text("UPDATE products SET backorder = false WHERE sku = :sku"), {"sku": MUG})

    shop.receive(MUG, 1)
    shop.turn(impatient=False)

    assert [shop.status(i) for i in (first, second)] == ["cancelled", "confirmed"]
    assert (queue(shop), broken_rules(shop)) == ([], [])


# --- What is given back ---------------------------------------------------------------------------


def test_what_a_cancelled_order_gives_back_goes_to_who_waits(shop: Mill) -> None:
    shop.receive(MUG, 2)
    bought = shop.accept(lines=[(MUG, 2)])
    shop.turn()
    first, second = waits(shop, (MUG, 1)), waits(shop, (MUG, 1))

    cancelled(shop, bought)

    assert [shop.status(i) for i in (first, second)] == ["confirmed"] * 2
    assert (queue(shop), broken_rules(shop)) == ([], [])


def test_a_cancelled_order_leaves_the_queue_and_makes_way(shop: Mill) -> None:
    large, small = waits(shop, (MUG, 5)), waits(shop, (MUG, 1))
    shop.receive(MUG, 1)

    cancelled(shop, large)

    assert (shop.status(large), shop.status(small)) == ("cancelled", "confirmed")
    assert (queue(shop), broken_rules(shop)) == ([], [])


def test_one_that_is_cancelled_as_its_units_come_gives_them_on(shop: Mill) -> None:
    first, second = waits(shop, (MUG, 1)), waits(shop, (MUG, 1))
    with shop.database.transaction() as tx:
        cancel(tx, first, "ada")

    shop.receive(MUG, 1)
    shop.turn(impatient=False)

    assert [shop.status(i) for i in (first, second)] == ["cancelled", "confirmed"]
    assert broken_rules(shop) == []


def test_one_that_is_on_hold_keeps_its_place_and_goes_on_with_its_units(
    shop: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = waits(shop, (MUG, 1))
    with monkeypatch.context() as broken:
        broken.setattr("pipeline.stages.reserve.decide", lambda answer: Hold("odd"))
        with shop.database.transaction() as tx:
            tx.execute(text("UPDATE dispatches SET due_at = created_at"))
        shop.engine.work("reserve")
    assert shop.status(order) == "on_hold"

    shop.receive(MUG, 1)
    assert (holders(shop), broken_rules(shop)) == ([order], [])
    with shop.database.transaction() as tx:
        requeue(tx, [order], "ada")
    shop.turn()

    assert (shop.status(order), broken_rules(shop)) == ("confirmed", [])


# --- Between the look and the lock ----------------------------------------------------------------


def test_one_who_came_in_between_is_not_overtaken_and_takes_its_turn(shop: Mill) -> None:
    shop.receive(MUG, 1)
    with shop.database.transaction() as tx:
        stock.post(tx, [Movement(MUG, "main", "adjustment", -1, "lost")], "ada")
    early, late = waits(shop, (MUG, 1)), waits(shop, (MUG, 1))

    with shop.database.transaction() as tx:
        turn = backorders.lock(tx, skus={MUG}, more={(MUG, "main"): 1}, without=[early])
        assert list(turn.waiting) == [late]  # as if `early` had joined only now
        tx.execute(text("UPDATE stock_levels SET on_hand = 1 WHERE sku = :sku"), {"sku": MUG})
        turn.free[MUG, "main"] = 1
        backorders.serve(tx, turn, "ada")

    assert (holders(shop), due(shop)) == ([], [early])
    shop.turn(impatient=False)
    assert (shop.status(early), shop.status(late)) == ("confirmed", "backordered")


def test_a_long_queue_is_served_in_turns(shop: Mill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backorders, "MOST", 3)
    orders = [shop.accept(lines=[(MUG, 1)]) for _ in range(10)]
    shop.turn()

    shop.receive(MUG, 8)

    assert (holders(shop), due(shop)) == (orders[:3], orders[:4])
    shop.turn(impatient=False)
    assert [shop.status(i) for i in orders] == ["confirmed"] * 8 + ["backordered"] * 2


# --- In numbers -----------------------------------------------------------------------------------


def test_1000_who_wait_are_served_by_10_lots_in_order_none_lost_and_none_early(
    shop: Mill,
) -> None:
    dealt = random.Random(4)
    lines = [
        [
            (sku, dealt.randint(1, 3))
            for sku in dealt.sample([MUG, TEE, POSTER], dealt.randint(1, 2))
        ]
        for _ in range(1_000)
    ]
    receipts = shop.intake.accept_all(shop.source, [an_order(lines=x) for x in lines])
    orders = [r.order_id for r in receipts if r.order_id is not None]
    shop.turn()
    wanted = dict(zip(orders, lines, strict=True))
    total = {s: sum(n for x in lines for sku, n in x if sku == s) for s in (MUG, TEE, POSTER)}
    assert {r.status for r in shop.query("SELECT status FROM orders")} == {"backordered"}

    served: set[int] = set()
    for lot in range(10):
        waited = set(queue(shop))
        with shop.database.transaction() as tx:
            units = {s: n * (lot + 1) // 10 - n * lot // 10 for s, n in total.items()}
            stock.post(tx, [Movement(s, "main", "receipt", n) for s, n in units.items()], "ada")
        at_once = set(holders(shop)) - served
        assert [i for i in due(shop) if i in at_once] == sorted(at_once)
        assert broken_rules(shop) == []
        waited &= set(queue(shop))
        shop.turn(impatient=False)
        new = set(holders(shop)) - served
        served |= new
        # Nobody who is served wants what one accepted earlier has waited for all the while.
        patient = [(sku, i) for sku, i in queue(shop) if (sku, i) in waited]
        first = dict(reversed(patient))
        assert [(i, s) for i in new for s, _ in wanted[i] if first.get(s, i) < i] == []
        confirmed = {r.id for r in shop.query("SELECT id FROM orders WHERE status = 'confirmed'")}
        assert confirmed == served

    assert served == set(orders)
    assert broken_rules(shop) == []


def test_of_100_000_who_wait_only_those_there_are_units_for_are_read(
    shop: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = waits(shop, (MUG, 1))
    many = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
        " INSERT INTO backorders (sku, order_id) SELECT :sku, 1000 + i FROM n"
    )
    with shop.database.transaction() as tx:
        tx.execute(text(many), {"sku": MUG})
        if not shop.database.is_sqlite:
            tx.execute(text("ANALYZE backorders"))
    read: list[int] = []
    find = backorders._queues

    def counted(tx: Tx, skus: Any, most: int) -> dict[str, list[int]]:
        found = find(tx, skus, most)
        read.extend(len(line) for line in found.values())
        return found

    monkeypatch.setattr(backorders, "_queues", counted)

    shop.receive(MUG, 10)

    assert holders(shop) == [order]
    assert read == [backorders.MOST + 1, 10 + backorders.SPARE + 1]
