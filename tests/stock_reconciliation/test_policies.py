"""What is compared with what, and what each policy does about it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from pipeline import operations, stocktaking
from pipeline.source import Policy
from pipeline.stock_reconciliation import reconcile as module
from pipeline.stock_reconciliation.act import Plan
from pipeline.stock_reconciliation.reconcile import feed_of, reconcile
from pipeline.stocktaking import Count
from pipeline.storage import stock
from pipeline.storage.stock import Movement
from tests.stock_reconciliation.support import counted, differences, now, on_hand, run
from tests.support import MUG, POSTER, TEE, Mill

MakeMill = Callable[..., Mill]
HOUR = timedelta(hours=1)


def alter(shop: Mill, statement: str) -> None:
    """Behind our back."""
    with shop.database.transaction() as tx:
        tx.execute(text(statement))


def posted(shop: Mill, *movements: Movement) -> None:
    with shop.database.transaction() as tx:
        assert stock.post(tx, movements, "ada") == []


def aged(shop: Mill, **changes: Any) -> Mill:
    """A shop whose stock came in two days ago."""
    shop.stocked(units=0, **changes)
    then = now(shop) - timedelta(days=2)
    posted(shop, *(Movement(sku, "main", "receipt", 10, at=then) for sku in (MUG, TEE, POSTER)))
    return shop


def cause(shop: Mill) -> str:
    [(said,)] = differences(shop, "cause")
    return str(said)


# --- The books ------------------------------------------------------------------------------------


def test_books_that_agree_have_no_difference(mill: MakeMill) -> None:
    shop = mill().stocked()
    shop.accept()
    shop.turn()

    found = run(shop)

    assert (found.is_clean, found.total, found.new) == (True, 0, 0)


@pytest.mark.parametrize(
    ("statement", "expected", "why"),
    [
        ("UPDATE stock_levels SET on_hand = 103 WHERE sku = 'MUG-01'",
         [("ledger", MUG, "main", 100, 103)], "on hand, or the ledger, was changed behind"),
        ("INSERT INTO stock_movements (sku, location, kind, quantity, actor, at) SELECT sku, location,"
         " kind, quantity, actor, at FROM stock_movements WHERE sku = 'TEE-01'",
         [("ledger", TEE, "main", 200, 100)], "a receipt of 100 units of"),
        ("INSERT INTO stock_movements (sku, location, kind, quantity, promised, actor, at) SELECT sku,"
         " location, kind, quantity, promised, actor, at FROM stock_movements"
         " WHERE kind = 'reservation'",
         [("promised", MUG, "main", 4, 2)], "a reservation of 2 units of"),
        ("UPDATE stock_movements SET promised = 1 WHERE kind = 'reservation'",
         [("promised", MUG, "main", 1, 2)], "reservations in the ledger were changed behind"),
        ("UPDATE orders SET status = 'cancelled'",
         [("over", MUG, "main", 0, 2)], "an order that may have none"),
    ],
)  # fmt: skip
def test_books_that_differ_are_told_and_left_alone(
    mill: MakeMill, statement: str, expected: list[Any], why: str
) -> None:
    shop = mill().stocked()
    shop.accept()
    shop.turn()
    alter(shop, statement)
    levels = shop.query("SELECT * FROM stock_levels ORDER BY sku")

    found = run(shop, policy="adjust", tolerance=1_000)

    assert differences(shop) == expected
    assert why in cause(shop)
    assert (found.total, found.new, found.is_clean) == (1, 1, False)
    assert shop.query("SELECT * FROM stock_levels ORDER BY sku") == levels


def test_units_that_an_order_lacks_explain_what_is_reserved_for_nobody(mill: MakeMill) -> None:
    shop = mill().stocked()
    order = shop.accept()
    shop.turn()
    alter(shop, "DELETE FROM reservations")

    run(shop)

    assert differences(shop, "kind, of_order, expected, found, cause") == [
        ("lacking", order, 2, 0, "reservations of the order were changed behind our back"),
        ("reserved", 0, 0, 2, f"reservations were changed behind our back: see order {order}"),
    ]


def test_reserved_units_that_nobody_promised_are_a_level_that_was_changed(mill: MakeMill) -> None:
    shop = mill().stocked()
    alter(shop, "UPDATE stock_levels SET reserved = 5 WHERE sku = 'TEE-01'")

    run(shop)

    why = "the level's reserved units were changed behind our back"
    assert differences(shop, "kind, sku, expected, found, cause") == [
        ("promised", TEE, 0, 5, why), ("reserved", TEE, 0, 5, why),
    ]  # fmt: skip


def test_half_a_transfer_is_known_as_such(mill: MakeMill) -> None:
    shop = mill().stocked()
    with shop.database.transaction() as tx:
        stocktaking.transfer(tx, MUG, 7, "main", "cellar", None, "ada")
    alter(shop, "DELETE FROM stock_movements WHERE location = 'cellar'")

    run(shop)

    assert cause(shop) == "one half of a transfer of 7 units is missing from the ledger"


def test_a_difference_is_kept_once_and_cleared_when_it_is_gone(mill: MakeMill) -> None:
    shop = mill().stocked()
    alter(shop, "UPDATE stock_levels SET on_hand = 103 WHERE sku = 'MUG-01'")

    runs = [run(shop), run(shop)]
    alter(shop, "UPDATE stock_levels SET on_hand = 100 WHERE sku = 'MUG-01'")
    runs.append(run(shop))

    assert [(r.total, r.new, r.cleared) for r in runs] == [(1, 1, 0), (1, 0, 0), (0, 0, 1)]
    [row] = shop.query("SELECT found_at, seen_at, cleared_at FROM stock_differences")
    assert row.found_at < row.seen_at < row.cleared_at


# --- Counts ---------------------------------------------------------------------------------------


def test_a_count_is_compared_as_of_its_time(mill: MakeMill, tmp_path: Path) -> None:
    shop = aged(mill())
    posted(shop, Movement(MUG, "main", "receipt", 5, at=now(shop) - HOUR))
    then = now(shop) - 2 * HOUR

    agreeing = run(shop, counted(tmp_path, (MUG, "main", 10, then)))
    found = run(shop, counted(tmp_path, (MUG, "main", 15, then)))

    assert (agreeing.total, agreeing.counts) == (0, 1)
    assert differences(shop) == [("count", MUG, "main", 10, 15)]
    assert found.new == 1


def test_a_count_by_hand_clears_what_counts_up_to_then_found(
    mill: MakeMill, tmp_path: Path
) -> None:
    shop = aged(mill())
    earlier, later = now(shop) - 2 * HOUR, now(shop) - HOUR
    run(shop, counted(tmp_path, (MUG, "main", 8, earlier), (TEE, "main", 8, later)))

    with shop.database.transaction() as tx:
        for sku in (MUG, TEE):
            stocktaking.count(tx, Count((sku, "main"), 8, later - HOUR / 2), "ada")

    assert differences(shop) == [("count", TEE, "main", 10, 8)]


def test_orders_that_reserve_units_move_none(mill: MakeMill, tmp_path: Path) -> None:
    shop = mill().stocked(units=10)
    shop.accept()
    shop.turn()

    assert run(shop, counted(tmp_path, (MUG, "main", 10, now(shop)))).is_clean


@pytest.mark.parametrize("units", [10, 15])
def test_what_moved_within_seconds_of_a_count_may_be_in_it_or_not(
    mill: MakeMill, tmp_path: Path, units: int
) -> None:
    shop = aged(mill())
    then = now(shop) - HOUR
    posted(shop, Movement(MUG, "main", "receipt", 5, at=then + timedelta(seconds=1)))

    assert run(shop, counted(tmp_path, (MUG, "main", units, then))).is_clean


def test_a_difference_beside_such_a_movement_is_to_the_nearest(
    mill: MakeMill, tmp_path: Path
) -> None:
    shop = aged(mill())
    then = now(shop) - HOUR
    posted(shop, Movement(MUG, "main", "receipt", 5, at=then - timedelta(seconds=1)))

    found = run(shop, counted(tmp_path, (MUG, "main", 16, then)), policy="adjust", tolerance=9)

    assert differences(shop, "expected, found, done") == [(15, 16, "reported: moved meanwhile")]
    assert (found.total, on_hand(shop, MUG)) == (1, 15)


def test_a_later_count_that_agrees_clears_the_difference(mill: MakeMill, tmp_path: Path) -> None:
    shop = aged(mill())
    run(shop, counted(tmp_path, (MUG, "main", 9, now(shop) - HOUR)))

    found = run(shop, counted(tmp_path, (MUG, "main", 10, now(shop))))

    assert (found.cleared, differences(shop)) == (1, [])


def test_a_place_that_the_books_don_t_know_holds_nothing(mill: MakeMill, tmp_path: Path) -> None:
    shop = aged(mill())

    run(shop, counted(tmp_path, (MUG, "attic", 3, now(shop))))

    assert differences(shop) == [("count", MUG, "attic", 0, 3)]


@pytest.mark.parametrize(
    ("moves", "counts", "why"),
    [
        ([("receipt", 4, 1)], [("main", 14)], "a receipt of 4 units, written at"),
        ([("shipment", -4, 1)], [("main", 6)], "had been done on the shelf before the count"),
        ([("shipment", -4, 3)], [("main", 10)], "was not done on the shelf yet at the count"),
        ([], [("main", 9)], "nothing that is known explains it"),
    ],
)
def test_a_count_s_likely_cause_is_what_moved_around_it(
    mill: MakeMill, tmp_path: Path, moves: list[Any], counts: list[Any], why: str
) -> None:
    shop = aged(mill())
    for kind, units, hours in moves:
        posted(shop, Movement(MUG, "main", kind, units, at=now(shop) - hours * HOUR))
    then = now(shop) - 2 * HOUR

    run(shop, counted(tmp_path, *((MUG, where, units, then) for where, units in counts)))

    assert why in cause(shop)


def test_as_many_at_another_location_is_a_transfer_that_was_not_written(
    mill: MakeMill, tmp_path: Path
) -> None:
    shop = aged(mill())
    then = now(shop) - HOUR

    run(shop, counted(tmp_path, (MUG, "main", 7, then), (MUG, "cellar", 3, then)))

    assert [why for (why,) in differences(shop, "cause")] == [
        "moved to or from main without a transfer: as many differ there",
        "moved to or from cellar without a transfer: as many differ there",
    ]


def test_books_that_differ_are_the_cause_of_counts_that_do(mill: MakeMill, tmp_path: Path) -> None:
    shop = aged(mill())
    alter(shop, "UPDATE stock_levels SET on_hand = 13 WHERE sku = 'MUG-01'")

    run(shop, counted(tmp_path, (MUG, "main", 10, now(shop))))

    causes = dict(differences(shop, "kind, cause"))
    assert causes["count"] == (
        "the books themselves differ here: rows were changed behind our back"
    )


@pytest.mark.parametrize("policy", ["report", "adjust", "hold"])
def test_nothing_is_done_about_a_count_older_than_one_that_was_posted(
    mill: MakeMill, tmp_path: Path, policy: str
) -> None:
    shop = aged(mill())
    with shop.database.transaction() as tx:
        stocktaking.count(tx, Count((MUG, "main"), 9), "ada")

    run(shop, counted(tmp_path, (MUG, "main", 9, now(shop) - HOUR)), policy=policy, tolerance=0)

    assert differences(shop, "done, cause") == [
        ("reported: counted since", "the count is older than the last one that was posted")
    ]
    assert not shop.query("SELECT 1 FROM stock_levels WHERE held")


# --- Policies -------------------------------------------------------------------------------------


def test_adjust_posts_what_is_within_the_tolerance_at_the_counts_time_and_names_the_feed(
    mill: MakeMill, tmp_path: Path
) -> None:
    shop = aged(mill())
    then = now(shop) - HOUR
    file = counted(tmp_path, (MUG, "main", 8, then), (TEE, "main", 7, then), name="hall-2.csv")

    found = run(shop, file, policy="adjust", tolerance=2)

    assert (on_hand(shop, MUG), on_hand(shop, TEE)) == (8, 10)
    assert differences(shop, "sku, done") == [
        (MUG, "adjusted"), (TEE, "reported: beyond the tolerance"),
    ]  # fmt: skip
    [moved] = shop.query("SELECT * FROM stock_movements WHERE kind = 'count'")
    assert (moved.quantity, moved.reason, moved.actor) == (
        -2, "counted: hall-2.csv", "reconcile-stock",
    )  # fmt: skip
    assert (found.total, found.new) == (2, 2)
    assert run(shop, file, policy="adjust", tolerance=2).total == 1


def test_adjust_never_leaves_less_than_is_promised(mill: MakeMill, tmp_path: Path) -> None:
    shop = aged(mill())
    shop.accept(lines=[(MUG, 9)])
    shop.turn()
    then = now(shop)
    file = counted(tmp_path, (MUG, "main", 8, then), (TEE, "main", 8, then))

    run(shop, file, policy="adjust", tolerance=5)

    assert (on_hand(shop, MUG), on_hand(shop, TEE)) == (10, 8)
    assert differences(shop, "sku, done") == [
        (MUG, "reported: promised to orders"), (TEE, "adjusted"),
    ]  # fmt: skip


def test_units_that_were_found_go_to_those_who_wait(mill: MakeMill, tmp_path: Path) -> None:
    shop = mill().stocked(units=0, backorder=True)
    order = shop.accept(lines=[(MUG, 2)])
    shop.turn()

    run(shop, counted(tmp_path, (MUG, "main", 2, now(shop))), policy="adjust", tolerance=2)
    shop.turn()

    assert shop.status(order) == "confirmed"


def test_a_run_that_dies_between_pages_is_one_with_the_run_that_ends_it(
    mill: MakeMill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = aged(mill())
    then = now(shop) - HOUR
    file = counted(
        tmp_path, (MUG, "main", 8, then), (TEE, "main", 8, then), (POSTER, "main", 8, then)
    )
    monkeypatch.setattr(module, "PAGE", 1)
    plan, acts = Plan("adjust", 5), module.act

    def dying(*arguments: Any) -> Any:
        if arguments[2][0].level[0] == TEE:
            raise KeyboardInterrupt
        return acts(*arguments)

    monkeypatch.setattr(module, "act", dying)
    with pytest.raises(KeyboardInterrupt):
        reconcile(shop.database, plan, [feed_of(file)])
    assert [on_hand(shop, sku) for sku in (MUG, TEE, POSTER)] == [8, 10, 10]
    monkeypatch.setattr(module, "act", acts)

    found = reconcile(shop.database, plan, [feed_of(file)])

    assert [on_hand(shop, sku) for sku in (MUG, TEE, POSTER)] == [8, 8, 8]
    assert (found.total, found.new, found.done) == (3, 3, {"adjusted": 3})
    assert len(shop.query("SELECT 1 FROM stock_movements WHERE kind = 'count'")) == 3
    assert all(why for (why,) in differences(shop, "cause"))


def held(shop: Mill, tmp_path: Path, **plan: Any) -> Mill:
    file = counted(tmp_path, (MUG, "main", 5, now(shop)))
    run(shop, file, policy="hold", **plan)
    return shop


def release(shop: Mill) -> None:
    with shop.database.transaction() as tx:
        stock.set_held(tx, [(MUG, "main")], False, "ada")


def test_nothing_is_promised_of_a_level_that_is_held_and_its_orders_go_on_hold(
    mill: MakeMill, tmp_path: Path
) -> None:
    shop = held(mill().stocked(units=10), tmp_path)

    orders = [shop.accept(), shop.accept(lines=[(TEE, 1)])]
    shop.turn()

    assert [(shop.status(i), shop.row(i).reason) for i in orders] == [
        ("on_hold", "sku_held"), ("confirmed", None),
    ]  # fmt: skip
    assert differences(shop, "sku, done") == [(MUG, "held")]


def test_a_difference_within_the_tolerance_holds_nothing(mill: MakeMill, tmp_path: Path) -> None:
    shop = held(mill().stocked(units=10), tmp_path, tolerance=5)

    assert not shop.query("SELECT 1 FROM stock_levels WHERE held")


def test_a_level_that_is_held_after_an_order_was_validated_is_held_from_it_too(
    mill: MakeMill, tmp_path: Path
) -> None:
    shop = mill(policy=Policy(chain="reserve_first"), serves=[]).stocked(units=10)
    order = shop.accept()
    shop.engine.work("validate")
    shop.engine.work("price")
    held(shop, tmp_path)

    shop.engine.work("reserve")

    assert (shop.status(order), shop.row(order).reason) == ("on_hold", "sku_held")


def test_other_locations_serve_while_one_is_held(mill: MakeMill, tmp_path: Path) -> None:
    shop = mill().stocked(units=10)
    posted(shop, Movement(MUG, "cellar", "receipt", 3))
    held(shop, tmp_path)

    order = shop.accept()
    shop.turn()

    assert shop.status(order) == "confirmed"
    assert [tuple(r) for r in shop.query("SELECT location FROM reservations")] == [("cellar",)]


def test_an_order_that_no_held_unit_could_help_is_rejected(mill: MakeMill, tmp_path: Path) -> None:
    shop = held(mill().stocked(units=10), tmp_path)

    order = shop.accept(lines=[(MUG, 1), (TEE, 11)])
    shop.turn()

    assert (shop.status(order), shop.row(order).reason) == ("rejected", "out_of_stock")


def test_once_released_the_orders_go_on(mill: MakeMill, tmp_path: Path) -> None:
    shop = held(mill().stocked(units=10), tmp_path)
    order = shop.accept()
    shop.turn()

    release(shop)
    with shop.database.transaction() as tx:
        operations.requeue(tx, [order], "ada")
    shop.turn()

    assert shop.status(order) == "confirmed"


def test_those_who_wait_have_what_came_meanwhile_in_the_transaction_that_releases(
    mill: MakeMill, tmp_path: Path
) -> None:
    shop = held(mill().stocked(units=1, backorder=True), tmp_path)
    order = shop.accept(lines=[(MUG, 2)])
    shop.turn()
    posted(shop, Movement(MUG, "main", "receipt", 3))
    shop.turn()
    assert shop.status(order) == "backordered"
    assert shop.query("SELECT 1 FROM reservations") == []

    release(shop)

    assert [tuple(r) for r in shop.query("SELECT order_id, quantity FROM reservations")] == [
        (order, 2)
    ]
    shop.turn()
    assert shop.status(order) == "confirmed"


def test_what_a_cancelled_order_gives_back_stays_held(mill: MakeMill, tmp_path: Path) -> None:
    shop = mill().stocked(units=10, backorder=True)
    first = shop.accept(lines=[(MUG, 10)])
    shop.turn()
    held(shop, tmp_path)
    second = shop.accept(lines=[(MUG, 1)])
    shop.turn()

    with shop.database.transaction() as tx:
        operations.cancel(tx, first, "ada")
    shop.turn()

    assert (shop.status(first), shop.status(second)) == ("cancelled", "backordered")
