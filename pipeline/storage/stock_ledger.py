"""Reading the stock ledger: how it stood at a time, what happened to a SKU, who holds it, what is low."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import Column, Integer, and_, bindparam, case, func, or_, select

from pipeline.inventory.allocation import Level
from pipeline.inventory.movement import COUNT, PROMISES
from pipeline.storage.database import Tx
from pipeline.storage.levels import FREE
from pipeline.storage.sql import now, pack, rows, texts
from pipeline.storage.tables import (
    orders,
    products,
    reservations,
    sources,
    stock_levels,
    stock_movements,
)


@dataclass(frozen=True, slots=True)
class Standing:
    """A level as of a time: `on_hand` then; whether that is yet to come; and when it was last
    counted, as far as that was later."""

    on_hand: int
    is_future: bool
    counted_since: datetime | None


_as_of = rows(
    Column("n", Integer), stock_levels.c.sku, stock_levels.c.location, stock_movements.c.at
)
_after = and_(
    stock_movements.c.sku == _as_of.c.sku,
    stock_movements.c.location == _as_of.c.location,
    stock_movements.c.at > _as_of.c.at,  # never so for one without a time, which is as of now
)
_STANDING = (
    select(
        _as_of.c.n,
        (
            func.coalesce(stock_levels.c.on_hand, 0)
            - func.coalesce(func.sum(stock_movements.c.quantity), 0)
        ).label("on_hand"),
        case((_as_of.c.at > now(), 1), else_=0).label("is_future"),
        func.max(case((stock_movements.c.kind == COUNT, stock_movements.c.at))).label(
            "counted_since"
        ),
    )
    .outerjoin(
        stock_levels,
        and_(stock_levels.c.sku == _as_of.c.sku, stock_levels.c.location == _as_of.c.location),
    )
    .outerjoin(stock_movements, _after)
    .group_by(_as_of.c.n, _as_of.c.at, stock_levels.c.on_hand)
)


def standing(tx: Tx, at: Sequence[tuple[Level, datetime | None]]) -> list[Standing]:
    """How levels stood at a time (None: now), in the order given; none on hand where there is no
    such level. The caller holds their locks, or reads a snapshot."""
    given = [(n, *level, when) for n, (level, when) in enumerate(at)]
    found = {r.n: r for r in tx.execute(_STANDING, {"rows": pack(given)})}
    return [
        Standing(int(found[n].on_hand), bool(found[n].is_future), found[n].counted_since)
        for n in range(len(given))
    ]


_between = rows(
    Column("n", Integer), stock_levels.c.sku, stock_levels.c.location,
    Column("since", stock_movements.c.at.type), Column("until", stock_movements.c.at.type),
)  # fmt: skip
_MOVED = (
    select(_between.c.n, stock_movements.c.quantity)
    .join(
        stock_movements,
        and_(
            stock_movements.c.sku == _between.c.sku,
            stock_movements.c.location == _between.c.location,
            stock_movements.c.at > _between.c.since,
            stock_movements.c.at <= _between.c.until,
            stock_movements.c.kind.not_in(PROMISES),
        ),
    )
    .order_by(_between.c.n, stock_movements.c.at, stock_movements.c.id)
)


def moved(tx: Tx, between: Sequence[tuple[Level, datetime, datetime]]) -> list[list[int]]:
    """What moved on the shelf at levels after a time, and no later than another: each movement's
    units, in order."""
    found: list[list[int]] = [[] for _ in between]
    given = [(n, *level, since, until) for n, (level, since, until) in enumerate(between)]
    for r in tx.execute(_MOVED, {"rows": pack(given)}):
        found[r.n].append(r.quantity)
    return found


_BALANCES = select(stock_levels.c.location, stock_levels.c.on_hand, stock_levels.c.reserved).where(
    stock_levels.c.sku == bindparam("wanted")
)
_MOVEMENTS = (
    select(stock_movements)
    .where(stock_movements.c.sku == bindparam("wanted"))
    .order_by(stock_movements.c.at.desc(), stock_movements.c.id.desc())
    .limit(bindparam("most"))
)
_MOVEMENTS_OF_KINDS = _MOVEMENTS.where(stock_movements.c.kind.in_(texts("kinds")))

_at, _id = stock_movements.c.at, stock_movements.c.id
_gap = rows(
    Column("n", Integer), Column("since", _at.type), Column("since_id", _id.type),
    Column("until", _at.type), Column("until_id", _id.type),
)  # fmt: skip
_IN_GAPS = (
    select(
        _gap.c.n,
        stock_movements.c.location,
        func.sum(stock_movements.c.quantity).label("quantity"),
        func.sum(stock_movements.c.promised).label("promised"),
    )
    .join(
        stock_movements,
        and_(
            stock_movements.c.sku == bindparam("wanted"),
            _at >= _gap.c.since,
            or_(_at > _gap.c.since, _id > _gap.c.since_id),
            _at <= _gap.c.until,
            or_(_at < _gap.c.until, _id <= _gap.c.until_id),
        ),
    )
    .group_by(_gap.c.n, stock_movements.c.location)
)
#: No movement is newer.
_END = (datetime(9999, 12, 31, tzinfo=UTC), 2**62)


def ledger(tx: Tx, sku: str, most: int, kinds: Collection[str] = ()) -> list[dict[str, Any]]:
    """The last movements of a SKU, of `kinds` or of all, the newest last, each with what was on hand
    (`balance`) and promised (`promised_balance`) at its location after it. A count stands at the
    time it was taken. Reads all movements back to the first that is told."""
    wanted = {"wanted": sku, "most": most}
    if kinds:
        of_kinds = {**wanted, "kinds": pack((kind,) for kind in kinds)}
        found = tx.execute(_MOVEMENTS_OF_KINDS, of_kinds).all()
    else:
        found = tx.execute(_MOVEMENTS, wanted).all()
    balances = {r.location: (r.on_hand, r.reserved) for r in tx.execute(_BALANCES, {"wanted": sku})}
    told = []
    for moved, newer in zip(found, _gaps(tx, sku, found), strict=True):
        for location, (quantity, promised) in newer.items():
            on_hand, reserved = balances.get(location, (0, 0))
            balances[location] = on_hand - quantity, reserved - promised
        told.append(_told(moved, *balances.get(moved.location, (0, 0))))
    return told[::-1]


def _gaps(tx: Tx, sku: str, found: Sequence[Any]) -> list[dict[str, tuple[int, int]]]:
    """For each movement of `found`, the newest first, the sums (quantity, promised) by location of
    those that are newer than it, up to and with the one before it in `found`."""
    ends = [_END, *((m.at, m.id) for m in found)]
    given = [(n, *since, *until) for n, (until, since) in enumerate(pairwise(ends))]
    sums: list[dict[str, tuple[int, int]]] = [{} for _ in found]
    for r in tx.execute(_IN_GAPS, {"wanted": sku, "rows": pack(given)}):
        sums[r.n][r.location] = int(r.quantity), int(r.promised)
    return sums


def _told(moved: Any, on_hand: int, reserved: int) -> dict[str, Any]:
    return {
        "at": moved.at, "location": moved.location, "kind": moved.kind,
        "quantity": moved.quantity, "balance": on_hand, "promised": moved.promised,
        "promised_balance": reserved, "actor": moved.actor, "reason": moved.reason,
        "reference": moved.reference,
    }  # fmt: skip


_HOLDERS = (
    select(
        reservations.c.order_id, sources.c.name.label("source"), orders.c.external_id,
        orders.c.status, reservations.c.location, reservations.c.quantity,
    )
    .join(orders, orders.c.id == reservations.c.order_id)
    .join(sources, sources.c.id == orders.c.source_id)
    .where(reservations.c.sku == bindparam("wanted"))
    .order_by(reservations.c.order_id.desc(), reservations.c.line_no, reservations.c.location)
    .limit(bindparam("most"))
)  # fmt: skip


def holders(tx: Tx, sku: str, most: int) -> list[dict[str, Any]]:
    """The orders that units of a SKU are promised to, the newest first. Reads all reservations."""
    return [dict(r._mapping) for r in tx.execute(_HOLDERS, {"wanted": sku, "most": most})]


_available = func.coalesce(func.sum(FREE), 0)
_LOW = (
    select(
        products.c.sku,
        products.c.name,
        func.coalesce(func.sum(stock_levels.c.on_hand), 0).label("on_hand"),
        func.coalesce(func.sum(stock_levels.c.reserved), 0).label("reserved"),
        _available.label("available"),
        products.c.reorder_point,
    )
    .outerjoin(stock_levels, stock_levels.c.sku == products.c.sku)
    .where(products.c.active)
    .group_by(products.c.sku)
    .order_by(_available, products.c.sku)
)


def low(tx: Tx, below: int | None = None) -> list[dict[str, Any]]:
    """Active products with fewer than so many units available over all locations, or (None) no more
    than their reorder point, if they have one; the fewest first. Those that were never in stock are
    among them."""
    if below is None:
        found = tx.execute(_LOW.having(_available <= products.c.reorder_point))
    else:
        found = tx.execute(_LOW.having(_available < below))
    sums = ("on_hand", "reserved", "available")
    return [{n: int(v) if n in sums else v for n, v in r._mapping.items()} for r in found]
