"""Stock levels under lock: what is free, and the one door through which they change, which writes
the ledger too. Who moves units is in stock.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import String, bindparam, case, func, insert, or_, select, update

from pipeline.errors import InvariantBroken
from pipeline.inventory.allocation import Allotment, Level
from pipeline.storage.database import Tx
from pipeline.storage.sql import ids, now, pack, rows, texts
from pipeline.storage.tables import reservations, stock_levels, stock_movements

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


@dataclass(frozen=True, slots=True)
class Movement:
    """A line of the ledger: by how much it changes what is on hand (`quantity`), and what of that is
    `promised` to orders. kind: receipt, adjustment, count, transfer, return, which change the one;
    reservation, release, which change the other; shipment, which changes both.

    `at` is for a count: when it was taken; all else happens now. `reference` is what it is for."""

    sku: str
    location: str
    kind: str
    quantity: int
    reason: str | None = None
    at: datetime | None = None
    reference: str | None = None
    promised: int = 0


_delta = rows(
    stock_levels.c.sku, stock_levels.c.location, stock_levels.c.on_hand, stock_levels.c.reserved
)
_on_hand_after = stock_levels.c.on_hand + _delta.c.on_hand
_reserved_after = stock_levels.c.reserved + _delta.c.reserved
_CHANGE = (
    update(stock_levels)
    .where(
        stock_levels.c.sku == _delta.c.sku,
        stock_levels.c.location == _delta.c.location,
        _reserved_after >= 0,
        _on_hand_after >= _reserved_after,
        or_(_delta.c.reserved <= 0, _delta.c.reserved <= FREE),
    )
    .values(on_hand=_on_hand_after, reserved=_reserved_after)
    .returning(stock_levels.c.sku, stock_levels.c.location)
)
_movement = rows(
    stock_movements.c.sku, stock_movements.c.location, stock_movements.c.kind,
    stock_movements.c.quantity, stock_movements.c.promised, stock_movements.c.reason,
    stock_movements.c.reference, stock_movements.c.at,
)  # fmt: skip
_told = [c for c in _movement.c if c.key != "at"]
_LEDGER = insert(stock_movements).from_select(
    [*(c.key for c in _told), "actor", "at"],
    select(
        *_told, bindparam("actor", type_=String), func.coalesce(_movement.c.at, now())
    ),
)  # fmt: skip


def move(tx: Tx, movements: Sequence[Movement], actor: str) -> list[Level]:
    """Change levels, and write why to the ledger. The caller holds their locks.

    Returns the levels that refused, because more would be promised than is on hand or free, or less
    than nothing; then nothing may be committed."""
    if not movements:
        return []
    units = by_level((m.sku, m.location, m.quantity) for m in movements)
    promised = by_level((m.sku, m.location, m.promised) for m in movements)
    given = pack((*level, n, promised[level]) for level, n in sorted(units.items()))
    won = {(r.sku, r.location) for r in tx.execute(_CHANGE, {"rows": given})}
    if len(won) < len(units):
        return sorted(units.keys() - won)
    lines = pack(
        (m.sku, m.location, m.kind, m.quantity, m.promised, m.reason, m.reference, m.at)
        for m in movements
    )
    tx.execute(_LEDGER, {"rows": lines, "actor": actor})
    return []


_new = rows(
    reservations.c.order_id, reservations.c.line_no, reservations.c.location,
    reservations.c.sku, reservations.c.quantity,
)  # fmt: skip
_RESERVE = insert(reservations).from_select(
    ["order_id", "line_no", "location", "sku", "quantity"], select(*_new.c)
)


_more = (
    (reservations.c.order_id == _new.c.order_id)
    & (reservations.c.line_no == _new.c.line_no)
    & (reservations.c.location == _new.c.location)
)
_RESERVE_MORE = (
    update(reservations)
    .where(_more)
    .values(quantity=reservations.c.quantity + _new.c.quantity)
)  # fmt: skip


def reserve(
    tx: Tx,
    allotments: Sequence[Allotment],
    actor: str,
    awaited: Container[int] = (),
    held: Iterable[Allotment] = (),
) -> None:
    """Promise units to orders; the ledger says of those in `awaited` that they waited for them.
    `held` is what the orders have already. If not enough are free, InvariantBroken, and the
    transaction must be rolled back."""
    if not allotments:
        return
    units = Counter[tuple[int, str, str]]()
    for a in allotments:
        units[a.order_id, a.sku, a.location] += a.quantity
    promises = [
        Movement(sku, location, "reservation", 0, "backorder" if i in awaited else None,
                 reference=reference(i), promised=n)
        for (i, sku, location), n in units.items()
    ]  # fmt: skip
    if refused := move(tx, promises, actor):
        raise InvariantBroken(f"not enough units free at {refused}")
    new = [(a.order_id, a.line_no, a.location, a.sku, a.quantity) for a in allotments]
    more: list[tuple[int, int, str, str, int]] = []
    if there := {(a.order_id, a.line_no, a.location) for a in held}:
        more = [row for row in new if row[:3] in there]
        new = [row for row in new if row[:3] not in there]
    for statement, its in ((_RESERVE, new), (_RESERVE_MORE, more)):
        if its:
            tx.execute(statement, {"rows": pack(its)})


def reference(order_id: int) -> str:
    """What a movement is for, where it is for an order."""
    return f"order {order_id}"


_HELD = (
    select(
        reservations.c.order_id, reservations.c.line_no, reservations.c.sku,
        reservations.c.location, reservations.c.quantity,
    )
    .where(reservations.c.order_id.in_(ids()))
    .order_by(reservations.c.order_id, reservations.c.line_no, reservations.c.location)
)  # fmt: skip


def held(tx: Tx, order_ids: Iterable[int]) -> list[Allotment]:
    """What is promised to these orders."""
    return [Allotment(*r) for r in tx.execute(_HELD, {"ids": pack(order_ids)})]


def by_level(units: Iterable[tuple[str, str, int]]) -> Counter[Level]:
    """Units of (sku, location, units), summed."""
    summed = Counter[Level]()
    for sku, location, quantity in units:
        summed[(sku, location)] += quantity
    return summed
