"""Stock: the ledger (movements), its running totals (levels), and what is promised (reservations)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import String, bindparam, delete, func, literal, or_, select, tuple_, update

from pipeline.errors import InvariantBroken
from pipeline.inventory.allocation import Level
from pipeline.storage import backorders, coupons
from pipeline.storage.database import Tx
from pipeline.storage.levels import FREE, available, by_level, move, reference
from pipeline.storage.levels import Movement as Movement  # what whoever posts brings
from pipeline.storage.sql import ids, pack, rows
from pipeline.storage.tables import order_lines, products, reservations, stock_levels
from pipeline.storage.upsert import InsertNew

_LINES = select(order_lines.c.sku).where(order_lines.c.order_id.in_(ids())).distinct()
_units = (reservations.c.sku, reservations.c.location, reservations.c.quantity)
_PROMISED = select(*_units).where(reservations.c.order_id.in_(ids()))
_RELEASE = (
    delete(reservations)
    .where(reservations.c.order_id.in_(ids()))
    .returning(reservations.c.order_id, *_units)
)


def release(tx: Tx, why: Mapping[int, str | None], actor: str, *, with_coupons: bool = True) -> int:
    """Give back what is promised to these orders, units and coupons; they wait for nothing any
    more. `why`, by order id, is for the ledger. Returns the units. Twice is once. Those who wait
    for what is freed have it at once. What was shipped is promised no more, so it stays; an order
    that has any keeps its coupons."""
    order_ids = list(why)
    packed_ids = {"ids": pack(order_ids)}
    skus = set(tx.execute(_LINES, packed_ids).scalars())
    promised = by_level(tuple(r) for r in tx.execute(_PROMISED, packed_ids))
    keys = coupons.held(tx, order_ids) if with_coupons else set()
    turn = backorders.lock(tx, skus=skus, more=promised, coupon_keys=keys, without=order_ids)
    backorders.remove(tx, order_ids)
    freed = _give_back(tx, tx.execute(_RELEASE, packed_ids), why, actor)
    turn.free.update(freed)
    if with_coupons:
        coupons.give_back(tx, order_ids)
    backorders.serve(tx, turn, actor)
    return freed.total()


def _give_back(
    tx: Tx, released: Iterable[Any], why: Mapping[int, str | None], actor: str
) -> Counter[Level]:
    units = Counter[tuple[int, str, str]]()
    for order_id, sku, location, quantity in released:
        units[order_id, sku, location] += quantity
    movements = [
        Movement(sku, location, "release", 0, why[i], reference=reference(i), promised=-n)
        for (i, sku, location), n in sorted(units.items())
    ]
    if refused := move(tx, movements, actor):
        raise InvariantBroken(f"less than nothing would be promised at {refused}")
    return by_level((sku, location, n) for (_, sku, location), n in units.items())


_level = rows(stock_levels.c.sku, stock_levels.c.location)
_ENSURE = InsertNew(
    stock_levels,
    ["sku", "location", "on_hand", "reserved"],
    select(*_level.c, bindparam("on_hand", 0), bindparam("reserved", 0)),
)


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
    if refused := move(tx, movements, actor):
        return refused
    turn.free.update(net)
    backorders.serve(tx, turn, actor)
    return []


_named = (stock_levels.c.sku == bindparam("of_sku", type_=String)) & (
    stock_levels.c.location == bindparam("at", type_=String)
)
_KEPT = select(stock_levels.c.safety).where(_named)
_SAFETY = update(stock_levels).where(_named).values(safety=bindparam("units"))


def set_safety(tx: Tx, sku: str, location: str, units: int, actor: str) -> None:
    """Keep so many units from being promised; those that are promised stay so. Orders that wait
    have what is no longer kept, in the same transaction."""
    _ENSURE(tx, {"rows": pack([(sku, location)])})
    there = tx.execute(_KEPT, {"of_sku": sku, "at": location}).scalar_one()
    turn = backorders.lock(tx, skus={sku}, more={(sku, location): there - units})
    kept = tx.execute(_KEPT, {"of_sku": sku, "at": location}).scalar_one()  # under lock, by now
    tx.execute(_SAFETY, {"of_sku": sku, "at": location, "units": units})
    turn.free[sku, location] += kept - units
    backorders.serve(tx, turn, actor)


_HOLD = (
    update(stock_levels)
    .where(stock_levels.c.sku == _level.c.sku, stock_levels.c.location == _level.c.location)
    .values(held=bindparam("to_hold"))
)


def set_held(tx: Tx, which: Iterable[Level], held: bool, actor: str) -> None:
    """Promise nothing more of these levels; or (not `held`) do so again: orders that wait have what
    is free there, in the same transaction. What is promised already stays so. Twice is once."""
    wanted = sorted(set(which))
    _ENSURE(tx, {"rows": pack(wanted)})
    plenty = {} if held else dict.fromkeys(wanted, backorders.MOST)
    turn = backorders.lock(tx, skus={sku for sku, _ in wanted}, more=plenty)
    tx.execute(_HOLD, {"rows": pack(wanted), "to_hold": held})
    if not held:
        turn.held.difference_update(wanted)
        turn.free |= available(tx, {sku for sku, _ in wanted})  # none before, none to be lost
        backorders.serve(tx, turn, actor)


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
