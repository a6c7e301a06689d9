"""Stock: the ledger (movements), its running totals (levels), and what is promised (reservations)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    Column,
    String,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from pipeline.errors import InvariantBroken
from pipeline.inventory.allocation import Allotment, Level
from pipeline.storage import dispatches
from pipeline.storage.database import Tx
from pipeline.storage.sql import ids, now, pack, rows, texts
from pipeline.storage.tables import (
    products,
    reservations,
    stock_levels,
    stock_movements,
)
from pipeline.storage.upsert import InsertNew

# Levels are locked in key order, by everyone: whoever wants several never waits in a circle.
_LOCK = (
    select(stock_levels.c.sku, stock_levels.c.location, stock_levels.c.on_hand, stock_levels.c.reserved)
    .where(stock_levels.c.sku.in_(texts("skus")))
    .order_by(stock_levels.c.sku, stock_levels.c.location)
    .with_for_update()
)  # fmt: skip


def lock_available(tx: Tx, skus: Iterable[str]) -> dict[Level, int]:
    """Lock the levels of `skus`; the units that are free, by (sku, location)."""
    found = tx.execute(_LOCK, {"skus": pack((sku,) for sku in sorted(set(skus)))})
    return {(r.sku, r.location): r.on_hand - r.reserved for r in found}


_delta = rows(
    stock_levels.c.sku, stock_levels.c.location, Column("units", stock_levels.c.on_hand.type)
)
_this_level = (stock_levels.c.sku == _delta.c.sku) & (stock_levels.c.location == _delta.c.location)
_TAKE = (
    update(stock_levels)
    .where(_this_level, stock_levels.c.on_hand - stock_levels.c.reserved >= _delta.c.units)
    .values(reserved=stock_levels.c.reserved + _delta.c.units)
    .returning(stock_levels.c.sku, stock_levels.c.location)
)
_GIVE = (
    update(stock_levels)
    .where(_this_level)
    .values(reserved=stock_levels.c.reserved - _delta.c.units)
)
_new = rows(
    reservations.c.order_id, reservations.c.line_no, reservations.c.location,
    reservations.c.sku, reservations.c.quantity,
)  # fmt: skip
_RESERVE = insert(reservations).from_select(
    ["order_id", "line_no", "location", "sku", "quantity"], select(*_new.c)
)


def reserve(tx: Tx, allotments: Sequence[Allotment]) -> None:
    """Promise units to orders. Every level's update is conditional on enough being free; if one
    refuses, InvariantBroken, and the transaction must be rolled back."""
    if not allotments:
        return
    needed = _by_level((a.sku, a.location, a.quantity) for a in allotments)
    won = tx.execute(_TAKE, {"rows": _packed(needed)}).all()
    if len(won) < len(needed):
        refused = sorted(needed.keys() - {(r.sku, r.location) for r in won})
        raise InvariantBroken(f"not enough units free at {refused}")
    tx.execute(
        _RESERVE,
        {"rows": pack((a.order_id, a.line_no, a.location, a.sku, a.quantity) for a in allotments)},
    )


_HELD = select(reservations.c.sku).where(reservations.c.order_id.in_(ids())).distinct()
_RELEASE = (
    delete(reservations)
    .where(reservations.c.order_id.in_(ids()))
    .returning(reservations.c.sku, reservations.c.location, reservations.c.quantity)
)


def release(tx: Tx, order_ids: Sequence[int]) -> int:
    """Give back what is promised to these orders; returns the units. Twice is once."""
    packed = {"ids": pack(order_ids)}
    lock_available(tx, tx.execute(_HELD, packed).scalars())
    freed = _by_level(tuple(r) for r in tx.execute(_RELEASE, packed))
    if freed:
        tx.execute(_GIVE, {"rows": _packed(freed)})
        dispatches.hasten(tx, "reserve")
    return freed.total()


@dataclass(frozen=True, slots=True)
class Movement:
    """A change of what is on hand, for the ledger. kind: receipt, adjustment, count, transfer.

    `at` is for a count: when it was taken; all else happens now."""

    sku: str
    location: str
    kind: str
    quantity: int
    reason: str | None = None
    at: datetime | None = None


_ADD = (
    update(stock_levels)
    .where(_this_level, stock_levels.c.on_hand + _delta.c.units >= stock_levels.c.reserved)
    .values(on_hand=stock_levels.c.on_hand + _delta.c.units)
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
    stock_movements.c.quantity, stock_movements.c.reason, stock_movements.c.at,
)  # fmt: skip
_LEDGER = insert(stock_movements).from_select(
    ["sku", "location", "kind", "quantity", "reason", "actor", "at"],
    select(
        *(c for c in _movement.c if c.name != "at"), bindparam("actor", type_=String),
        func.coalesce(_movement.c.at, now()),
    ),
)  # fmt: skip


def open_levels(tx: Tx, levels: Iterable[Level]) -> None:
    """Make the levels that are not there yet, at nothing, and lock all of their SKUs."""
    wanted = sorted(set(levels))
    _ENSURE(tx, {"rows": pack(wanted)})
    lock_available(tx, {sku for sku, _ in wanted})


def post(tx: Tx, movements: Sequence[Movement], actor: str) -> list[Level]:
    """Write movements and their totals. Returns the levels that refused, because it would leave
    fewer units than are promised; then nothing may be committed. Orders that wait for stock are
    woken in the same transaction."""
    if not movements:
        return []
    net = _by_level((m.sku, m.location, m.quantity) for m in movements)
    open_levels(tx, net)
    won = {(r.sku, r.location) for r in tx.execute(_ADD, {"rows": _packed(net)})}
    if len(won) < len(net):
        return sorted(net.keys() - won)
    ledger = pack((m.sku, m.location, m.kind, m.quantity, m.reason, m.at) for m in movements)
    tx.execute(_LEDGER, {"rows": ledger, "actor": actor})
    dispatches.hasten(tx, "reserve")
    return []


_LEVELS = (
    select(stock_levels, products.c.name)
    .join(products, products.c.sku == stock_levels.c.sku)
    .order_by(stock_levels.c.sku, stock_levels.c.location)
)


def levels(tx: Tx, sku: str | None = None) -> list[dict[str, object]]:
    """Levels with product names, of one SKU or all."""
    statement = _LEVELS if sku is None else _LEVELS.where(stock_levels.c.sku == sku)
    return [
        {
            "sku": r.sku, "name": r.name, "location": r.location, "on_hand": r.on_hand,
            "reserved": r.reserved, "available": r.on_hand - r.reserved,
        }
        for r in tx.execute(statement)
    ]  # fmt: skip


def _by_level(units: Iterable[tuple[str, str, int]]) -> Counter[Level]:
    summed = Counter[Level]()
    for sku, location, quantity in units:
        summed[(sku, location)] += quantity
    return summed


def _packed(units: Mapping[Level, int]) -> str:
    return pack((sku, location, n) for (sku, location), n in sorted(units.items()))
