"""Several hands on one order: its lock decides. And whoever dies has done nothing."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from pipeline import fulfilment, operations
from pipeline.fulfilment import Shipped
from pipeline.inventory.shipping import Refused, Shipment
from pipeline.storage.tables import metadata
from tests.fulfilment.shop import (
    MakeMill,
    levels,
    moved,
    progress,
    shelved,
    ship,
    sold,
    take_back,
)
from tests.payments.shop import act, booked, cancel, findings
from tests.support import MUG, TEE, Mill


def test_two_who_ship_the_same_units_ship_them_once(mill: MakeMill) -> None:
    shop = shelved(mill, (MUG, "main", 5))
    order = sold(shop, [(MUG, 5)])

    with ThreadPoolExecutor(8) as hands:
        verdicts = list(hands.map(lambda n: ship(shop, order, f"P-{n}", lines={1: 1}), range(8)))

    assert Counter(type(verdict) for verdict in verdicts) == {Shipped: 5, Refused: 3}
    assert (levels(shop), len(moved(shop, "shipment"))) == ({(MUG, "main"): (0, 0)}, 5)
    assert (progress(shop, order), findings(shop)) == ("fulfilled", [])


def test_two_who_ship_under_the_same_reference_ship_once(mill: MakeMill) -> None:
    shop = shelved(mill, (MUG, "main", 5))
    order = sold(shop, [(MUG, 5)])

    with ThreadPoolExecutor(8) as hands:
        list(hands.map(lambda _: ship(shop, order, "P-1", lines={1: 2}), range(8)))

    assert (levels(shop), findings(shop)) == ({(MUG, "main"): (3, 3)}, [])


def test_two_who_take_back_the_same_unit_take_it_back_once(mill: MakeMill) -> None:
    shop = shelved(mill, (MUG, "main", 1))
    order = sold(shop, [(MUG, 1)])
    ship(shop, order)

    with ThreadPoolExecutor(4) as hands:
        made = [hands.submit(take_back, shop, order, {1: 1}, reference=f"R-{n}") for n in range(4)]

    assert sum(each.exception() is None for each in made) == 1
    assert (levels(shop), findings(shop)) == ({(MUG, "main"): (1, 0)}, [])


def test_orders_that_are_shipped_in_opposite_order_all_leave(mill: MakeMill) -> None:
    shop = shelved(mill, (MUG, "main", 40), (TEE, "main", 40))
    numbers = [sold(shop, [(MUG, 2), (TEE, 2)]) for _ in range(10)]

    def ship_them(turn: int) -> list[Any]:
        batch = [
            Shipment(n, f"P-{turn}", {1 + turn % 2: 1}) for n in numbers[:: 1 - 2 * (turn % 2)]
        ]
        with shop.database.transaction() as tx:
            return fulfilment.ship(tx, batch, "ada")

    with ThreadPoolExecutor(4) as hands:
        verdicts = [verdict for each in hands.map(ship_them, range(4)) for verdict in each]

    assert {type(verdict) for verdict in verdicts} == {Shipped}
    assert findings(shop) == []


class Waiting:
    """Someone who acts in another thread, and has to wait for us."""

    def __init__(self, action: Callable[[], Any]) -> None:
        self._done: list[Any] = []
        self._thread = threading.Thread(target=lambda: self._done.append(action()))
        self._thread.start()
        time.sleep(0.2)
        assert self._thread.is_alive()

    def result(self) -> Any:
        self._thread.join(30)
        [done] = self._done
        return done


def test_who_cancels_while_a_part_is_shipped_cancels_the_rest(mill: MakeMill) -> None:
    shop = shelved(mill, (MUG, "main", 3))
    order = sold(shop, [(MUG, 3)])

    with shop.database.transaction() as tx:
        fulfilment.ship(tx, [Shipment(order, "P-1", {1: 1})], "ada")
        other = Waiting(lambda: cancel(shop, order))
    other.result()
    shop.turn()
    shop.payment_tasks.run()

    assert (shop.status(order), progress(shop, order)) == ("confirmed", "fulfilled")
    assert (levels(shop), booked(shop)["refund"]) == ({(MUG, "main"): (2, 0)}, 2000)
    assert findings(shop) == []


def test_who_ships_while_the_order_is_cancelled_ships_nothing(mill: MakeMill) -> None:
    shop = shelved(mill, (MUG, "main", 3))
    order = sold(shop, [(MUG, 3)])

    with shop.database.transaction() as tx:
        operations.cancel(tx, order, "ada")
        other = Waiting(lambda: ship(shop, order, lines={1: 1}))
    refused = other.result()
    shop.turn()

    assert refused == Refused("order", "one that is cancelling", "a confirmed one")
    assert (shop.status(order), levels(shop)) == ("cancelled", {(MUG, "main"): (3, 0)})
    assert (booked(shop)["refund"], findings(shop)) == (3000, [])


# --- Death ----------------------------------------------------------------------------------------


class Killed(Exception):
    pass


@contextmanager
def dying_after(shop: Mill, statements: int) -> Iterator[None]:
    left = [statements]

    def die(*_: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    event.listen(shop.database.engine, "after_cursor_execute", die)
    try:
        yield
    finally:
        event.remove(shop.database.engine, "after_cursor_execute", die)


def everything(shop: Mill) -> dict[str, Any]:
    """All that is in the database."""
    with shop.database.snapshot() as tx:
        return {t.name: tx.execute(t.select()).all() for t in metadata.sorted_tables}


ACTS: dict[str, Callable[[Mill, int], Any]] = {
    "shipped": lambda shop, order: ship(shop, order, "P-2", lines={1: 2}, capture=True),
    "returned": lambda shop, order: take_back(shop, order, {1: 1}, refund=True),
    "part_cancelled": cancel,
}


@pytest.mark.parametrize("kind", ACTS)
def test_who_dies_before_the_commit_has_done_nothing(mill: MakeMill, kind: str) -> None:
    """Whatever the statement that was its last. Another order waits for the units."""
    shop = shelved(mill, (MUG, "east", 2), (MUG, "west", 2), capture="later")
    order = sold(shop, [(MUG, 4)])
    ship(shop, order, "P-1", lines={1: 1})
    if kind == "returned":
        act(shop, operations.capture, order)
        shop.payment_tasks.run()
    waiting = shop.accept(lines=[(MUG, 1)])
    shop.turn()
    before, points = everything(shop), 0

    while True:
        try:
            with dying_after(shop, points):
                ACTS[kind](shop, order)
            break
        except Killed:
            points += 1
            assert everything(shop) == before

    assert points > 10
    assert kind in shop.timeline(order)
    shop.turn()
    shop.payment_tasks.run()
    assert shop.status(waiting) == ("backordered" if kind == "shipped" else "confirmed")
    assert findings(shop) == []
