"""Stock levels under lock: what is free, and promising it. Who moves units is in stock.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Column, case, insert, select, update

from pipeline.errors import InvariantBroken
from pipeline.inventory.allocation import Allotment, Level
from pipeline.storage.database import Tx
from pipeline.storage.sql import ids, pack, rows, texts
from pipeline.storage.tables import reservations, stock_levels

#: Units that may be promised: none of a level that is held.
FREE = case(
    (stock_levels.c.held, 0),
    else_=stock_levels.c.on_hand - stock_levels.c.reserved - stock_levels.c.safety,
)

_LOOK = select(
    stock_levels.c.sku, stock_levels.c.location, FREE.label("free"), stock_levels.c.held
).where(stock_levels.c.sku.in_(texts("skus")))
# Levels are locked in key order, by everyone: whoever wants several never waits in a circle.
_LOCK = _LOOK.order_by(stock_levels.c.sku, stock_levels.c.location).with_for_update()


def available(tx: Tx, skus: Iterable[str]) -> Counter[Level]:
    """The units that are free just now, by (sku, location); a look, not a promise. Fewer than none
    where safety stock was taken."""
    found = tx.execute(_LOOK, {"skus": _sorted(skus)})
    return Counter({(r.sku, r.location): r.free for r in found})


def lock_available(tx: Tx, skus: Iterable[str]) -> tuple[Counter[Level], set[Level]]:
    """Lock the levels of `skus`; the units that are free, as `available`, and which are held."""
    found = tx.execute(_LOCK, {"skus": _sorted(skus)}).all()
    free = Counter({(r.sku, r.location): r.free for r in found})
    return free, {(r.sku, r.location) for r in found if r.held}


def _sorted(skus: Iterable[str]) -> str:
    return pack((sku,) for sku in sorted(set(skus)))


DELTA = rows(
    stock_levels.c.sku, stock_levels.c.location, Column("units", stock_levels.c.on_hand.type)
)
THIS_LEVEL = (stock_levels.c.sku == DELTA.c.sku) & (stock_levels.c.location == DELTA.c.location)
_TAKE = (
    update(stock_levels)
    .where(THIS_LEVEL, DELTA.c.units <= FREE)
    .values(reserved=stock_levels.c.reserved + DELTA.c.units)
    .returning(stock_levels.c.sku, stock_levels.c.location)
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
    needed = by_level((a.sku, a.location, a.quantity) for a in allotments)
    won = tx.execute(_TAKE, {"rows": packed(needed)}).all()
    if len(won) < len(needed):
        refused = sorted(needed.keys() - {(r.sku, r.location) for r in won})
        raise InvariantBroken(f"not enough units free at {refused}")
    tx.execute(
        _RESERVE,
        {"rows": pack((a.order_id, a.line_no, a.location, a.sku, a.quantity) for a in allotments)},
    )


_HOLDERS = select(reservations.c.order_id).where(reservations.c.order_id.in_(ids())).distinct()


def holders(tx: Tx, order_ids: Iterable[int]) -> set[int]:
    """Those of these orders that have their units: all of them, as it is all or none."""
    return set(tx.execute(_HOLDERS, {"ids": pack(order_ids)}).scalars())


def by_level(units: Iterable[tuple[str, str, int]]) -> Counter[Level]:
    """Units of (sku, location, units), summed."""
    summed = Counter[Level]()
    for sku, location, quantity in units:
        summed[(sku, location)] += quantity
    return summed


def packed(units: Mapping[Level, int]) -> str:
    """For `DELTA`, in key order."""
    return pack((sku, location, n) for (sku, location), n in sorted(units.items()))
