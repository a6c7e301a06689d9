"""Stock: the ledger (movements), its running totals (levels), and what is promised (reservations)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import String, bindparam, delete, func, insert, literal, or_, select, tuple_, update

from pipeline.inventory.allocation import Level
from pipeline.storage import backorders, coupons
from pipeline.storage.database import Tx
from pipeline.storage.levels import DELTA, FREE, THIS_LEVEL, available, by_level, packed
from pipeline.storage.sql import ids, now, pack, rows
from pipeline.storage.tables import (
    order_lines,
    products,
    reservations,
    stock_levels,
    stock_movements,
)
from pipeline.storage.upsert import InsertNew

_GIVE = (
    update(stock_levels).where(THIS_LEVEL).values(reserved=stock_levels.c.reserved - DELTA.c.units)
)
_LINES = select(order_lines.c.sku).where(order_lines.c.order_id.in_(ids())).distinct()
_units = (reservations.c.sku, reservations.c.location, reservations.c.quantity)
_PROMISED = select(*_units).where(reservations.c.order_id.in_(ids()))
_RELEASE = delete(reservations).where(reservations.c.order_id.in_(ids())).returning(*_units)


def release(tx: Tx, order_ids: Sequence[int], *, with_coupons: bool = True) -> int:
    """Give back what is promised to these orders, units and coupons; they wait for nothing any
    more. Returns the units. Twice is once. Those who wait for what is freed have it at once.
    What was shipped is promised no more, so it stays; an order that has any keeps its coupons."""
    packed_ids = {"ids": pack(order_ids)}
    skus = set(tx.execute(_LINES, packed_ids).scalars())
    promised = by_level(tuple(r) for r in tx.execute(_PROMISED, packed_ids))
    keys = coupons.held(tx, order_ids) if with_coupons else set()
    turn = backorders.lock(tx, skus=skus, more=promised, coupon_keys=keys, without=order_ids)
    backorders.remove(tx, order_ids)
    freed = by_level(tuple(r) for r in tx.execute(_RELEASE, packed_ids))
    if freed:
        tx.execute(_GIVE, {"rows": packed(freed)})
        turn.free.update(freed)
    if with_coupons:
        coupons.give_back(tx, order_ids)
    backorders.serve(tx, turn)
    return freed.total()


@dataclass(frozen=True, slots=True)
class Movement:
    """A change of what is on hand, for the ledger. kind: receipt, adjustment, count, transfer,
    shipment, return.

    `at` is for a count: when it was taken; all else happens now. `reference` is what it is for."""

    sku: str
    location: str
    kind: str
    quantity: int
    reason: str | None = None
    at: datetime | None = None
    reference: str | None = None


_ADD = (
    update(stock_levels)
    .where(THIS_LEVEL, stock_levels.c.on_hand + DELTA.c.units >= stock_levels.c.reserved)
    .values(on_hand=stock_levels.c.on_hand + DELTA.c.units)
    .returning(stock_levels.c.sku, stock_levels.c.location)
)
_level = rows(stock_levels.c.sku, stock_levels.c.location)
_ENSURE = InsertNew(
    stock_levels,
    ["sku", "location", "on_hand", "reserved"],
    select(*_level.c, bindparam("on_hand", 0), bindparam("reserved", 0)),
)
_movement = rows(
    stock_movements.c.sku, stock_movements.c.location, stock_movements.c.kind,
    stock_movements.c.quantity, stock_movements.c.reason, stock_movements.c.reference,
    stock_movements.c.at,
)  # fmt: skip
_LEDGER = insert(stock_movements).from_select(
    ["sku", "location", "kind", "quantity", "reason", "reference", "actor", "at"],
    select(
        *(c for c in _movement.c if c.name != "at"), bindparam("actor", type_=String),
        func.coalesce(_movement.c.at, now()),
    ),
)  # fmt: skip


def open_levels(tx: Tx, levels: Iterable[Level]) -> None:
    """Make the levels that are not there yet, at nothing, and lock all of their SKUs; with them all
    that whoever waits for them needs, as locking these later would be out of order."""
    wanted = sorted(set(levels))
    _ENSURE(tx, {"rows": pack(wanted)})
    plenty = dict.fromkeys(wanted, backorders.MOST)
    backorders.lock(tx, skus={sku for sku, _ in wanted}, more=plenty)


def post(tx: Tx, movements: Sequence[Movement], actor: str) -> list[Level]:
    """Write movements and their totals. Returns the levels that refused, because it would leave
    fewer units than are promised; then nothing may be committed. Orders that wait for the units
    have them in the same transaction."""
    if not movements:
        return []
    net = by_level((m.sku, m.location, m.quantity) for m in movements)
    _ENSURE(tx, {"rows": pack(sorted(net))})
    turn = backorders.lock(tx, skus={sku for sku, _ in net}, more=net)
    won = {(r.sku, r.location) for r in tx.execute(_ADD, {"rows": packed(net)})}
    if len(won) < len(net):
        return sorted(net.keys() - won)
    write(tx, movements, actor)
    turn.free.update(net)
    backorders.serve(tx, turn)
    return []


def write(tx: Tx, movements: Sequence[Movement], actor: str) -> None:
    """Write movements to the ledger. The caller has moved, under lock, the totals."""
    ledger = pack(
        (m.sku, m.location, m.kind, m.quantity, m.reason, m.reference, m.at) for m in movements
    )
    tx.execute(_LEDGER, {"rows": ledger, "actor": actor})


_named = (stock_levels.c.sku == bindparam("of_sku", type_=String)) & (
    stock_levels.c.location == bindparam("at", type_=String)
)
_KEPT = select(stock_levels.c.safety).where(_named)
_SAFETY = update(stock_levels).where(_named).values(safety=bindparam("units"))


def set_safety(tx: Tx, sku: str, location: str, units: int) -> None:
    """Keep so many units from being promised; those that are promised stay so. Orders that wait
    have what is no longer kept, in the same transaction."""
    _ENSURE(tx, {"rows": pack([(sku, location)])})
    there = tx.execute(_KEPT, {"of_sku": sku, "at": location}).scalar_one()
    turn = backorders.lock(tx, skus={sku}, more={(sku, location): there - units})
    kept = tx.execute(_KEPT, {"of_sku": sku, "at": location}).scalar_one()  # under lock, by now
    tx.execute(_SAFETY, {"of_sku": sku, "at": location, "units": units})
    turn.free[sku, location] += kept - units
    backorders.serve(tx, turn)


_HOLD = update(stock_levels).where(THIS_LEVEL).values(held=DELTA.c.units == 1)


def set_held(tx: Tx, which: Iterable[Level], held: bool) -> None:
    """Promise nothing more of these levels; or (not `held`) do so again: orders that wait have what
    is free there, in the same transaction. What is promised already stays so. Twice is once."""
    wanted = sorted(set(which))
    _ENSURE(tx, {"rows": pack(wanted)})
    plenty = {} if held else dict.fromkeys(wanted, backorders.MOST)
    turn = backorders.lock(tx, skus={sku for sku, _ in wanted}, more=plenty)
    tx.execute(_HOLD, {"rows": packed(dict.fromkeys(wanted, int(held)))})
    if not held:
        turn.held.difference_update(wanted)
        turn.free |= available(tx, {sku for sku, _ in wanted})  # none before, none to be lost
        backorders.serve(tx, turn)


_LEVELS = (
    select(stock_levels, products.c.name, FREE.label("available"))
    .join(products, products.c.sku == stock_levels.c.sku)
    .order_by(stock_levels.c.sku, stock_levels.c.location)
)


def levels(
    tx: Tx, sku: str | None = None, *, after: Level | None = None, most: int | None = None
) -> list[dict[str, object]]:
    """Levels with product names, of one SKU or all, in order of SKU and location; from the first
    that comes `after` one, and up to so many."""
    statement = _LEVELS if sku is None else _LEVELS.where(stock_levels.c.sku == sku)
    if after is not None:
        in_order = tuple_(stock_levels.c.sku, stock_levels.c.location)
        statement = statement.where(in_order > tuple_(*map(literal, after)))
    statement = statement.limit(most)
    return _told(tx.execute(statement))


_PRODUCTS = (
    select(
        products.c.sku, products.c.name, stock_levels.c.location,
        *(
            func.coalesce(stock_levels.c[units], 0).label(units)
            for units in ("on_hand", "reserved", "safety")
        ),
        func.coalesce(stock_levels.c.held, False).label("held"),
        func.coalesce(FREE, 0).label("available"),
    )
    .outerjoin(stock_levels, stock_levels.c.sku == products.c.sku)
    .order_by(products.c.sku, stock_levels.c.location)
)  # fmt: skip


def search(tx: Tx, text: str, after: str, most: int) -> list[dict[str, object]]:
    """Levels as `levels`, of up to `most` products that come after the SKU `after` and whose SKU or
    name holds `text` (in any case); one that was never in stock has a level without a location."""
    wanted = (
        select(products.c.sku)
        .where(
            products.c.sku > after,
            or_(
                func.lower(products.c.sku).contains(text.lower(), autoescape=True),
                func.lower(products.c.name).contains(text.lower(), autoescape=True),
            ),
        )
        .order_by(products.c.sku)
        .limit(most)
    )
    return _told(tx.execute(_PRODUCTS.where(products.c.sku.in_(wanted))))


def _told(found: Iterable[Any]) -> list[dict[str, object]]:
    return [
        {
            "sku": r.sku, "name": r.name, "location": r.location, "on_hand": r.on_hand,
            "reserved": r.reserved, "safety": r.safety, "held": r.held, "available": r.available,
        }
        for r in found
    ]  # fmt: skip
