"""The ledger's own guards: they hold even where whoever calls has reckoned wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from pipeline.errors import InvariantBroken
from pipeline.inventory.allocation import Allotment
from pipeline.storage import levels, stock
from pipeline.storage.stock import Movement
from tests.support import MUG, TEE, Mill

MakeMill = Callable[..., Mill]


def reserve(shop: Mill, *allotments: Allotment) -> None:
    with shop.database.transaction() as tx:
        levels.reserve(tx, allotments, "reserve")


def release(shop: Mill, *orders: int) -> int:
    with shop.database.transaction() as tx:
        return stock.release(tx, dict.fromkeys(orders, "cancelled"), "undo_reserve")


def totals(shop: Mill) -> dict[str, tuple[int, int]]:
    """(on hand, reserved) by SKU."""
    found = shop.query("SELECT sku, on_hand, reserved FROM stock_levels")
    return {sku: (on_hand, reserved) for sku, on_hand, reserved in found}


def reservations(shop: Mill) -> list[Any]:
    return shop.query("SELECT order_id, line_no, sku, quantity FROM reservations ORDER BY 1, 2")


def test_promised_units_are_written_for_the_line_and_in_the_total(mill: MakeMill) -> None:
    shop = mill().stocked(units=5)
    order = shop.accept()

    reserve(shop, Allotment(order, 1, MUG, "main", 2), Allotment(order, 2, TEE, "main", 1))

    assert reservations(shop) == [(order, 1, MUG, 2), (order, 2, TEE, 1)]
    assert (totals(shop)[MUG], totals(shop)[TEE]) == ((5, 2), (5, 1))


def test_more_than_is_free_is_refused_by_the_update_itself(mill: MakeMill) -> None:
    shop = mill().stocked(units=5)
    first, second = shop.accept(), shop.accept()
    reserve(shop, Allotment(first, 1, MUG, "main", 4))

    with pytest.raises(InvariantBroken, match=MUG):
        reserve(shop, Allotment(second, 1, MUG, "main", 2), Allotment(second, 2, TEE, "main", 1))

    assert (totals(shop)[MUG], totals(shop)[TEE]) == ((5, 4), (5, 0))
    assert reservations(shop) == [(first, 1, MUG, 4)]


def test_two_lines_that_are_too_much_only_together_are_refused(mill: MakeMill) -> None:
    shop = mill().stocked(units=5)
    order = shop.accept()

    with pytest.raises(InvariantBroken):
        reserve(shop, Allotment(order, 1, MUG, "main", 3), Allotment(order, 2, MUG, "main", 3))

    assert totals(shop)[MUG] == (5, 0)


def test_units_of_a_location_that_does_not_exist_are_refused(mill: MakeMill) -> None:
    shop = mill().stocked(units=5)
    order = shop.accept()

    with pytest.raises(InvariantBroken, match="moon"):
        reserve(shop, Allotment(order, 1, MUG, "moon", 1))


def test_what_was_promised_is_given_back_once(mill: MakeMill) -> None:
    shop = mill().stocked(units=5)
    order, other = shop.accept(), shop.accept()
    reserve(shop, Allotment(order, 1, MUG, "main", 2), Allotment(other, 1, MUG, "main", 1))

    given_back = [release(shop, order), release(shop, order)]

    assert given_back == [2, 0]
    assert totals(shop)[MUG] == (5, 1)
    assert reservations(shop) == [(other, 1, MUG, 1)]


def test_units_that_are_promised_can_not_be_taken_off_the_shelf(mill: MakeMill) -> None:
    shop = mill().stocked(units=5)
    order = shop.accept()
    reserve(shop, Allotment(order, 1, MUG, "main", 4))

    with shop.database.engine.connect() as tx:
        refused = stock.post(tx, [Movement(MUG, "main", "adjustment", -2, "broken")], "ada")

    assert refused == [(MUG, "main")]
    assert totals(shop)[MUG] == (5, 4)


def test_every_movement_is_in_the_ledger(mill: MakeMill) -> None:
    shop = mill().stocked(units=5)

    with shop.database.transaction() as tx:
        moves = [Movement(MUG, "main", "receipt", 3), Movement(MUG, "main", "adjustment", -1, "x")]
        assert stock.post(tx, moves, "ada") == []

    assert totals(shop)[MUG] == (7, 0)
    ledger = "SELECT kind, quantity, actor FROM stock_movements WHERE sku = :sku ORDER BY id"
    assert shop.query(ledger, sku=MUG) == [
        ("receipt", 5, "test"),
        ("receipt", 3, "ada"),
        ("adjustment", -1, "ada"),
    ]


# What no statement, of ours or of anyone at a prompt, can write.
FORBIDDEN = {
    "more promised than there is": "UPDATE stock_levels SET reserved = on_hand + 1",
    "less than nothing promised": "UPDATE stock_levels SET reserved = -1",
    "a shelf emptied under a promise": "UPDATE stock_levels SET on_hand = reserved - 1",
    "a promise of nothing": "UPDATE reservations SET quantity = 0",
    "a price below nothing": "UPDATE prices SET amount = -1",
    "a line of nothing": "UPDATE order_lines SET quantity = 0",
    "a line that does not add up": "UPDATE order_lines SET tax = tax + 1",
    "a quote that does not add up": "UPDATE quotes SET total = total + 1",
    "a dispatch of nobody": "UPDATE dispatches SET size = 0",
    "an order taken in twice": "UPDATE orders SET external_id = 'web-1'",
}


@pytest.mark.parametrize("statement", FORBIDDEN.values(), ids=FORBIDDEN)
def test_the_database_itself_refuses(mill: MakeMill, statement: str) -> None:
    shop = mill().stocked(units=5)
    shop.accept()
    shop.turn()
    shop.accept()  # waits in a dispatch

    with pytest.raises(IntegrityError), shop.database.transaction() as tx:
        tx.execute(text(statement))
