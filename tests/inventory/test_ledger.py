"""The ledger tells of every unit that moved, and of every one that was promised, to whom and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pipeline import fulfilment, operations, stocktaking
from pipeline.inventory import movement
from pipeline.inventory.shipping import Return, Shipment
from pipeline.source import Policy
from pipeline.storage import stock, stock_ledger
from pipeline.storage.stock import Movement
from tests.support import MUG, Mill, an_order

MakeMill = Callable[..., Mill]


def within(shop: Mill, act: Callable[..., Any], *arguments: Any) -> Any:
    with shop.database.transaction() as tx:
        return act(tx, *arguments)


def told(shop: Mill, *fields: str, most: int = 20, kinds: tuple[str, ...] = ()) -> list[Any]:
    """The ledger of the mug, the newest last."""
    with shop.database.snapshot() as tx:
        found = stock_ledger.ledger(tx, MUG, most, kinds)
    return [tuple(m[field] for field in fields) for m in found]


UNITS = ("kind", "quantity", "balance", "promised", "promised_balance")
WHY = ("kind", "actor", "reason", "reference")


def test_an_orders_units_are_promised_and_leave(mill: MakeMill) -> None:
    shop = mill().stocked(units=5)
    order = shop.accept()
    shop.turn()

    within(shop, fulfilment.ship, [Shipment(order, "s-1", {1: 1})], "ada")

    assert told(shop, *UNITS) == [
        ("receipt", 5, 5, 0, 0),
        ("reservation", 0, 5, 2, 2),
        ("shipment", -1, 4, -1, 1),
    ]
    assert told(shop, *WHY)[1:] == [
        ("reservation", "reserve", None, f"order {order}"),
        ("shipment", "ada", None, f"order {order}"),
    ]


def test_units_that_are_given_back_say_why(mill: MakeMill) -> None:
    shop = mill().stocked(units=5)
    order = shop.accept()
    shop.turn()

    within(shop, operations.cancel, order, "ada")
    shop.turn()

    assert told(shop, *UNITS)[1:] == [("reservation", 0, 5, 2, 2), ("release", 0, 5, -2, 0)]
    assert told(shop, *WHY)[-1] == ("release", "undo_reserve", "cancelled", f"order {order}")


def test_what_is_cancelled_of_a_shipped_order_is_given_back_by_who_did_it(mill: MakeMill) -> None:
    shop = mill().stocked(units=5)
    order = shop.accept()
    shop.turn()
    within(shop, fulfilment.ship, [Shipment(order, "s-1", {1: 1})], "ada")

    within(shop, operations.cancel, order, "bob")

    assert told(shop, *UNITS)[-1] == ("release", 0, 4, -1, 0)
    assert told(shop, *WHY)[-1] == ("release", "bob", "part_cancelled", f"order {order}")


def test_goods_that_come_back_are_promised_to_nobody(mill: MakeMill) -> None:
    shop = mill().stocked(units=5)
    order = shop.accept()
    shop.turn()
    within(shop, fulfilment.ship, [Shipment(order, "s-1")], "ada")

    within(shop, fulfilment.take_back, Return(order, "r-1", {1: 2}, "main"), "ada")

    assert told(shop, *UNITS)[-2:] == [("shipment", -2, 3, -2, 0), ("return", 2, 5, 0, 0)]


def receives(shop: Mill) -> None:
    shop.receive(MUG, 2)


def keeps_less(shop: Mill) -> None:
    within(shop, stock.set_safety, MUG, "main", 0, "test")


def is_released(shop: Mill) -> None:
    within(shop, stock.set_held, [(MUG, "main")], False, "test")


@pytest.mark.parametrize(
    ("units", "before", "brings"),
    [
        (0, None, receives),
        (2, lambda tx: stock.set_safety(tx, MUG, "main", 2, "x"), keeps_less),
        (2, lambda tx: stock.set_held(tx, [(MUG, "main")], True, "x"), is_released),
    ],
)
def test_an_order_that_waited_has_its_units_from_who_brought_them(
    mill: MakeMill, units: int, before: Any, brings: Callable[[Mill], None]
) -> None:
    shop = mill().stocked(units=units, backorder=True)
    if before:
        within(shop, before)
    order = shop.accept()
    shop.turn()

    brings(shop)

    assert told(shop, *UNITS)[-1] == ("reservation", 0, 2, 2, 2)
    assert told(shop, *WHY)[-1] == ("reservation", "test", "backorder", f"order {order}")


def test_two_lines_of_one_sku_are_one_promise(mill: MakeMill) -> None:
    shop = mill(policy=Policy(price_policy="as_sold")).stocked(units=5)
    sent = an_order(lines=[(MUG, 1), (MUG, 2)])
    for line in sent["lines"]:  # priced apart, so they stay two
        line["unit_price"] = f"1.{line['quantity']}0"

    order = shop.send(sent).order_id
    shop.turn()

    assert len(shop.query("SELECT 1 FROM reservations WHERE order_id = :o", o=order)) == 2
    assert told(shop, *UNITS)[1:] == [("reservation", 0, 5, 3, 3)]


def test_each_kind_has_its_balances_whatever_moved_in_between(mill: MakeMill) -> None:
    shop = mill().stocked(units=5)
    shop.accept()
    shop.turn()
    within(shop, stocktaking.transfer, MUG, 1, "main", "cellar", None, "ada")
    within(shop, stocktaking.adjust, (MUG, "main"), 4, "found", "ada")
    shop.accept()
    shop.turn()
    moved = [Movement(MUG, "main", "receipt", 1), Movement(MUG, "cellar", "receipt", 2)]
    assert within(shop, stock.post, moved, "ada") == []

    def of(*kinds: str, most: int = 20) -> list[Any]:
        fields = ("kind", "location", "balance", "promised_balance")
        return told(shop, *fields, kinds=kinds, most=most)

    every = of()

    assert every == [
        ("receipt", "main", 5, 0),
        ("reservation", "main", 5, 2),
        ("transfer", "main", 4, 2),
        ("transfer", "cellar", 1, 0),
        ("adjustment", "main", 8, 2),
        ("reservation", "main", 8, 4),
        ("receipt", "main", 9, 4),
        ("receipt", "cellar", 3, 0),
    ]
    for kind in movement.KINDS:
        assert of(kind) == [m for m in every if m[0] == kind]
    assert of("receipt", "adjustment", most=3) == [every[4], *every[6:]]
