"""Orders that wait for stock: first accepted, first served, the moment it arrives."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, text, update

from pipeline.audit.audit import audit
from pipeline.decisions import read_decision
from pipeline.operations import cancel, decide, requeue
from pipeline.outcome import Hold
from pipeline.source import Policy
from pipeline.storage import backorders, levels, sources, stock
from pipeline.storage.database import Tx
from pipeline.storage.sql import now
from pipeline.storage.stock import Movement
from pipeline.storage.tables import backorders as backorders_table
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
    """Orders that have all their units."""
    found = shop.query(
        "SELECT DISTINCT order_id FROM reservations"
        " WHERE order_id NOT IN (SELECT order_id FROM backorders) ORDER BY 1"
    )
    return [r[0] for r in found]


def has(shop: Mill, order: int) -> dict[str, int]:
    """The units that an order holds, by SKU."""
    found = shop.query(
        "SELECT sku, sum(quantity) AS n FROM reservations WHERE order_id = :i GROUP BY sku", i=order
    )
    return {r.sku: int(r.n) for r in found}


def lacks(shop: Mill, order: int) -> dict[str, int]:
    """The units that an order waits for, by SKU."""
    found = shop.query("SELECT sku, units FROM backorders WHERE order_id = :i", i=order)
    return {r.sku: r.units for r in found}


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


def never_again(shop: Mill, sku: str) -> None:
    """From now on nobody waits for it."""
    with shop.database.transaction() as tx:
        tx.execute(text("UPDATE products SET backorder = false WHERE sku = :sku"), {"sku": sku})


def set_policy(shop: Mill, policy: Policy) -> None:
    with shop.database.transaction() as tx:
        sources.put(tx, shop.source.name, policy)


def look(shop: Mill) -> None:
    """The safety net: all who wait have a look, as they do from time to time."""
    with shop.database.transaction() as tx:
        tx.execute(text("UPDATE dispatches SET due_at = created_at WHERE leased_until IS NULL"))
    shop.turn(impatient=False)


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
    assert (has(shop, large), lacks(shop, large), has(shop, small)) == ({MUG: 4}, {MUG: 1}, {})
    shop.receive(MUG, 2)

    assert holders(shop) == [large, small]
    assert broken_rules(shop) == []


def test_a_newcomer_does_not_overtake_who_waits(shop: Mill) -> None:
    large = waits(shop, (MUG, 5))
    shop.receive(MUG, 4)

    newcomer = waits(shop, (MUG, 1))

    assert queue(shop) == [(MUG, large), (MUG, newcomer)]
    assert (has(shop, large), has(shop, newcomer)) == ({MUG: 4}, {})


def test_one_that_lacks_one_thing_keeps_the_others_and_is_in_nobodys_way_for_more(
    shop: Mill,
) -> None:
    shop.receive(TEE, 5)
    both = waits(shop, (MUG, 1), (TEE, 2))

    other = shop.accept(lines=[(TEE, 3)])
    shop.turn()
    too_late = waits(shop, (TEE, 1))

    assert queue(shop) == [(MUG, both), (TEE, too_late)]
    assert (has(shop, both), shop.status(other)) == ({TEE: 2}, "confirmed")
    assert broken_rules(shop) == []
    shop.receive(MUG, 1)
    shop.turn(impatient=False)
    assert (shop.status(both), has(shop, both)) == ("confirmed", {MUG: 1, TEE: 2})
    assert broken_rules(shop) == []


def test_a_paid_order_that_waits_for_a_bowl_keeps_its_mug_and_is_confirmed_once_the_bowl_comes(
    shop: Mill,
) -> None:
    never_again(shop, MUG)
    shop.receive(MUG, 1)
    first = waits(shop, (MUG, 1), (TEE, 1))
    assert (has(shop, first), shop.row(first).reason) == ({MUG: 1}, "awaiting_stock")

    later = shop.accept(lines=[(MUG, 1)])
    shop.turn()
    assert shop.row(later).reason == "out_of_stock"
    shop.receive(TEE, 1)
    shop.turn(impatient=False)

    assert (shop.status(first), has(shop, first)) == ("confirmed", {MUG: 1, TEE: 1})
    assert broken_rules(shop) == []


def test_what_is_there_goes_to_the_first_who_waits_for_something_else(shop: Mill) -> None:
    """Two want a mug and a tee, and there is one of each: they don't take one each."""
    shop.receive(MUG, 1)
    first, second = waits(shop, (MUG, 1), (TEE, 1)), waits(shop, (MUG, 1), (TEE, 1))
    assert (has(shop, first), has(shop, second)) == ({MUG: 1}, {})

    shop.receive(TEE, 1)

    assert (holders(shop), lacks(shop, second)) == ([first], {MUG: 1, TEE: 1})


def test_one_that_lacks_something_that_may_not_be_waited_for_takes_nothing(shop: Mill) -> None:
    never_again(shop, TEE)
    shop.receive(MUG, 1)
    order = shop.accept(lines=[(MUG, 1), (TEE, 1)])

    shop.turn()

    assert shop.row(order).reason == "out_of_stock"
    assert shop.query("SELECT 1 FROM stock_movements WHERE kind = 'reservation'") == []


def test_an_arrival_of_one_thing_overtakes_nobody_for_another(shop: Mill) -> None:
    shop.receive(TEE, 4)
    tees = waits(shop, (TEE, 5))
    both = waits(shop, (MUG, 1), (TEE, 1))
    assert queue(shop) == [(MUG, both), (TEE, tees), (TEE, both)]

    shop.receive(MUG, 1)

    assert (has(shop, tees), has(shop, both)) == ({TEE: 4}, {MUG: 1})
    assert queue(shop) == [(TEE, tees), (TEE, both)]
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
    # One line in two parts, both from one place: one row.
    assert [r.quantity for r in shop.query("SELECT quantity FROM reservations")] == [2, 2]
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
    kept = has(shop, order)
    with shop.database.transaction() as tx:
        stock.set_safety(tx, MUG, "main", 2, "ada")

    assert (kept, holders(shop)) == ({MUG: 1}, [order])
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
    never_again(shop, MUG)

    shop.receive(MUG, 1)
    assert (queue(shop), broken_rules(shop)) == ([], [])
    shop.turn(impatient=False)

    assert [shop.status(i) for i in (first, second)] == ["cancelled", "confirmed"]
    assert (queue(shop), broken_rules(shop)) == ([], [])


@pytest.mark.parametrize("chain", ["capture_first", "reserve_first"])
def test_one_that_may_no_longer_wait_gives_back_what_it_had_meanwhile(
    mill: MakeMill, chain: str
) -> None:
    policy = Policy.model_validate({"chain": chain, "email": False})
    shop = mill(policy=policy).stocked(units=0, backorder=True)
    shop.receive(MUG, 1)
    first = waits(shop, (MUG, 2))
    assert has(shop, first) == {MUG: 1}
    never_again(shop, MUG)

    look(shop)
    second = shop.accept(lines=[(MUG, 1)])
    shop.turn()

    assert (shop.status(first), shop.row(first).reason) == ("cancelled", "out_of_stock")
    assert (shop.status(second), has(shop, first)) == ("confirmed", {})
    assert (queue(shop), broken_rules(shop)) == ([], [])


# --- What it is priced with -----------------------------------------------------------------------


def test_coupons_are_taken_with_the_first_unit_and_given_back_with_it(mill: MakeMill) -> None:
    policy = Policy(chain="reserve_first", email=False)
    shop = mill(policy=policy, rules=CODE).stocked(units=0, backorder=True)
    order = waits(shop, (MUG, 2), coupons=["TEN"])
    used = "SELECT code FROM coupon_redemptions"
    assert shop.query(used) == []

    shop.receive(MUG, 1)

    assert (has(shop, order), [r.code for r in shop.query(used)]) == ({MUG: 1}, ["TEN"])
    assert broken_rules(shop) == []
    late = shop.accept(lines=[(TEE, 1)], coupons=["TEN"])
    shop.turn()
    assert (shop.status(late), shop.row(late).reason) == ("rejected", "coupon_exhausted")
    cancelled(shop, order)
    assert (has(shop, order), shop.query(used), broken_rules(shop)) == ({}, [], [])


def test_one_that_has_its_coupon_is_not_refused_for_it_later(mill: MakeMill) -> None:
    policy = Policy(chain="reserve_first", email=False)
    shop = mill(policy=policy, rules=CODE).stocked(units=0, backorder=True)
    shop.receive(MUG, 1)
    order = waits(shop, (MUG, 2), coupons=["TEN"])

    shop.receive(MUG, 1)
    shop.turn(impatient=False)

    assert (shop.status(order), broken_rules(shop)) == ("confirmed", [])


# --- With `release` -------------------------------------------------------------------------------


def releasing(mill: MakeMill) -> Mill:
    return mill(policy=Policy(email=False, backorder="release")).stocked(units=0, backorder=True)


def test_with_release_it_takes_nothing_until_all_is_there_and_nobody_takes_what_it_needs(
    mill: MakeMill,
) -> None:
    shop = releasing(mill)
    shop.receive(TEE, 5)
    both = waits(shop, (MUG, 2), (TEE, 1))
    assert (has(shop, both), lacks(shop, both)) == ({}, {MUG: 2, TEE: 1})

    later = waits(shop, (TEE, 1))
    shop.receive(MUG, 1)
    assert (has(shop, both), has(shop, later), broken_rules(shop)) == ({}, {}, [])
    shop.receive(MUG, 1)

    assert (holders(shop), due(shop)) == ([both], [both, later])
    shop.turn(impatient=False)
    assert [shop.status(i) for i in (both, later)] == ["confirmed"] * 2
    assert (queue(shop), broken_rules(shop)) == ([], [])


def test_with_release_no_coupon_is_taken_while_it_waits(mill: MakeMill) -> None:
    policy = Policy(chain="reserve_first", email=False, backorder="release")
    shop = mill(policy=policy, rules=CODE).stocked(units=0, backorder=True)
    shop.receive(TEE, 1)

    waits(shop, (MUG, 1), (TEE, 1), coupons=["TEN"])

    assert shop.query("SELECT 1 FROM coupon_redemptions") == []
    assert broken_rules(shop) == []


def test_one_that_is_to_release_from_now_on_keeps_what_it_has(shop: Mill) -> None:
    shop.receive(TEE, 1)
    both = waits(shop, (MUG, 2), (TEE, 1))
    set_policy(shop, Policy(email=False, backorder="release"))

    shop.receive(MUG, 1)
    assert (has(shop, both), lacks(shop, both)) == ({TEE: 1}, {MUG: 2})
    shop.receive(MUG, 1)

    assert (holders(shop), broken_rules(shop)) == ([both], [])


# --- For how long ---------------------------------------------------------------------------------


def as_if_it_had_waited(shop: Mill, order: int, days: float) -> None:
    with shop.database.transaction() as tx:
        its = update(backorders_table).where(backorders_table.c.order_id == order)
        tx.execute(its.values(since=now(-days * 86_400)))


def test_one_that_has_waited_for_too_long_is_held_with_its_place_and_its_units(
    mill: MakeMill,
) -> None:
    shop = mill(policy=Policy(email=False, backorder_days=14)).stocked(units=0, backorder=True)
    shop.receive(TEE, 1)
    both, mug = waits(shop, (MUG, 1), (TEE, 1)), waits(shop, (MUG, 1))
    as_if_it_had_waited(shop, both, 13.9)
    look(shop)
    assert shop.status(both) == "backordered"

    as_if_it_had_waited(shop, both, 14)
    look(shop)

    assert (shop.status(both), shop.row(both).reason) == ("on_hold", "backorder_expired")
    assert (shop.status(mug), has(shop, both), broken_rules(shop)) == ("backordered", {TEE: 1}, [])
    with shop.database.transaction() as tx:
        requeue(tx, [both], "ada")
    shop.turn()
    assert shop.status(both) == "on_hold"  # it waits for a person, not for a look
    shop.receive(MUG, 1)
    assert holders(shop) == [both]
    with shop.database.transaction() as tx:
        requeue(tx, [both], "ada")
    shop.turn()
    assert (shop.status(both), broken_rules(shop)) == ("confirmed", [])


@pytest.mark.parametrize(
    ("day", "ends"), [("2999-12-31", "backordered"), ("2026-01-01", "on_hold")]
)
def test_a_person_may_let_it_wait_until_a_day_is_over(mill: MakeMill, day: str, ends: str) -> None:
    shop = mill(policy=Policy(email=False, backorder_days=14)).stocked(units=0, backorder=True)
    order = waits(shop, (MUG, 1))
    as_if_it_had_waited(shop, order, 14)
    look(shop)
    assert shop.status(order) == "on_hold"

    with shop.database.transaction() as tx:
        decide(tx, [order], read_decision({"wait_until": day}), "ada")
    look(shop)

    assert (shop.status(order), broken_rules(shop)) == (ends, [])


@pytest.mark.parametrize("chain", ["capture_first", "reserve_first"])
def test_or_it_is_cancelled_and_gives_back_what_it_has(mill: MakeMill, chain: str) -> None:
    policy = Policy.model_validate(
        {"chain": chain, "email": False, "backorder_days": 14, "backorder_ends": "cancel"}
    )
    shop = mill(policy=policy).stocked(units=0, backorder=True)
    shop.receive(TEE, 1)
    both, tee = waits(shop, (MUG, 1), (TEE, 1)), waits(shop, (TEE, 1))
    as_if_it_had_waited(shop, both, 14)

    look(shop)

    assert (shop.status(both), shop.row(both).reason) == ("cancelled", "backorder_expired")
    assert (shop.status(tee), queue(shop), broken_rules(shop)) == ("confirmed", [], [])


def test_units_that_come_in_part_begin_no_new_wait(mill: MakeMill) -> None:
    shop = mill(policy=Policy(email=False, backorder_days=14)).stocked(units=0, backorder=True)
    order = waits(shop, (MUG, 3))
    as_if_it_had_waited(shop, order, 14)

    shop.receive(MUG, 1)
    look(shop)

    assert (shop.status(order), has(shop, order)) == ("on_hold", {MUG: 1})


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
        " INSERT INTO backorders (sku, order_id, units, since, movement)"
        " SELECT sku, 1000 + i, units, since, movement FROM n, backorders WHERE order_id = :order"
    )
    with shop.database.transaction() as tx:
        tx.execute(text(many), {"order": order})
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
