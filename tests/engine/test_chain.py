"""An order travels its chain, and comes to the right end, on both databases."""

from collections.abc import Callable

import pytest

from pipeline import operations
from pipeline.engine import record
from pipeline.errors import ConfigurationError
from pipeline.source import Policy
from pipeline.storage.database import Database
from tests.support import MUG, TEE, Mill, an_order

MakeMill = Callable[..., Mill]


@pytest.mark.parametrize("chain", ["capture_first", "reserve_first"])
def test_a_good_order_is_confirmed_and_its_customer_told(mill: MakeMill, chain: str) -> None:
    shop = mill(policy=Policy(chain=chain)).stocked()

    order = shop.accept()
    shop.turn()

    assert shop.status(order) == "confirmed"
    assert shop.timeline(order) == ["received"] + ["advanced"] * 5
    assert [n.topic for n in shop.inbox.received] == ["order.confirmed"]
    assert [(e.kind, e.amount) for e in shop.gateway.book()] == [
        ("authorize", 2000),
        ("capture", 2000),
    ]


def test_an_engine_that_lacks_a_step_it_serves_refuses_to_start(sqlite_database: Database) -> None:
    """Else the stage before it would be blamed for each order that comes there."""
    with pytest.raises(ConfigurationError, match="screen"):
        Mill(sqlite_database, serves=["validate", "screen"])


def test_orders_are_moved_in_order_of_id_those_whose_cancellation_came_in_too(
    mill: MakeMill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that of two who lock several orders none waits for the other for ever."""
    shop = mill(serves=["validate"]).stocked()
    orders = [shop.accept() for _ in range(3)]
    with shop.database.transaction() as tx:
        operations.cancel(tx, orders[0], "ada")
    moved: list[list[int]] = []
    move = record.orders.move
    monkeypatch.setattr(
        record.orders,
        "move",
        lambda tx, moves, actor: (
            moved.append([m.order_id for m in moves]) or move(tx, moves, actor)
        ),
    )

    shop.turn()

    assert moved[0] == orders
    assert [shop.status(order) for order in orders] == ["cancelled", "confirmed", "confirmed"]


def test_a_declined_order_is_rejected_with_nothing_taken(mill: MakeMill) -> None:
    shop = mill().stocked()

    order = shop.accept(method="pm_card_declined")
    shop.turn()

    assert (shop.status(order), shop.row(order).reason) == ("rejected", "declined")
    assert list(shop.gateway.book()) == []


def test_a_decline_after_the_reservation_gives_the_units_back(mill: MakeMill) -> None:
    shop = mill(policy=Policy(chain="reserve_first")).stocked(units=2)

    order = shop.accept(method="pm_card_declined")
    shop.turn()

    assert (shop.status(order), shop.row(order).reason) == ("cancelled", "declined")
    assert shop.query("SELECT reserved FROM stock_levels WHERE sku = :sku", sku=MUG) == [(0,)]


def test_out_of_stock_after_the_capture_is_refunded(mill: MakeMill) -> None:
    shop = mill(serves=["validate"]).stocked(units=2)
    orders = [shop.accept(), shop.accept()]  # both pass the early look
    shop.turn()

    assert sorted(map(shop.status, orders)) == ["cancelled", "confirmed"]
    assert sorted(e.kind for e in shop.gateway.book()) == [
        "authorize",
        "authorize",
        "capture",
        "capture",
        "refund",
    ]


def test_a_charge_whose_answer_was_lost_is_not_made_twice(mill: MakeMill) -> None:
    shop = mill().stocked()

    order = shop.accept(method="pm_timeout_after")
    shop.turn()

    assert shop.status(order) == "confirmed"
    assert [e.kind for e in shop.gateway.book()] == ["authorize", "capture"]


@pytest.mark.parametrize("method", ["pm_timeout_before", "pm_error_500", "pm_rate_limited"])
def test_a_gateway_that_fails_for_a_while_delays_the_order(mill: MakeMill, method: str) -> None:
    shop = mill().stocked()

    order = shop.accept(method=method)
    shop.turn()

    assert shop.status(order) == "confirmed"
    assert "retried" in shop.timeline(order)


def test_a_defect_holds_only_the_order_that_provokes_it(mill: MakeMill) -> None:
    shop = mill().stocked()
    methods = ["pm_card_visa"] * 6 + ["pm_crash"] + ["pm_card_visa"] * 6

    batch = [an_order(method=method) for method in methods]
    orders = [r.order_id for r in shop.intake.accept_all(shop.source, batch)]
    shop.turn()

    assert [shop.status(o) for o in orders] == ["confirmed"] * 6 + ["on_hold"] + ["confirmed"] * 6
    assert shop.row(orders[6]).reason == "defect"


def test_an_order_for_what_may_be_backordered_waits_for_stock(mill: MakeMill) -> None:
    shop = mill().stocked(units=1, backorder=True)
    order = shop.accept(lines=[(MUG, 2)])
    shop.turn()
    assert shop.status(order) == "backordered"

    shop.receive(MUG, 1)
    shop.turn()

    assert shop.status(order) == "confirmed"


def test_two_lines_with_one_sku_draw_on_the_same_units(mill: MakeMill) -> None:
    shop = mill().stocked(units=3)

    order = shop.accept(lines=[(MUG, 2), (TEE, 1), (MUG, 2)])
    shop.turn()

    assert (shop.status(order), shop.row(order).reason) == ("rejected", "out_of_stock")


def test_an_unknown_sku_is_rejected_by_name(mill: MakeMill) -> None:
    shop = mill().stocked()

    order = shop.accept(lines=[("MUG-99", 1)])
    shop.turn()

    assert (shop.status(order), shop.row(order).reason) == ("rejected", "unknown_sku")


def test_an_amount_over_the_sources_limit_waits_for_a_person(mill: MakeMill) -> None:
    shop = mill(policy=Policy(hold_over={"EUR": 1999})).stocked()

    order = shop.accept()
    shop.turn()

    assert (shop.status(order), shop.row(order).reason) == ("on_hold", "amount_over_limit")
