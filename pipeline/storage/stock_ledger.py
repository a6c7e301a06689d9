"""Reading the stock ledger: how it stood at a time, what happened to a SKU, who holds it, what is low."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Integer, and_, bindparam, case, func, select

from pipeline.inventory.allocation import Level
from pipeline.storage.database import Tx
from pipeline.storage.sql import now, pack, rows
from pipeline.storage.tables import (
    orders,
    products,
    reservations,
    sources,
    stock_levels,
    stock_movements,
)

COUNT = "count"


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
        (stock_levels.c.on_hand - func.coalesce(func.sum(stock_movements.c.quantity), 0)).label(
            "on_hand"
        ),
        case((_as_of.c.at > now(), 1), else_=0).label("is_future"),
        func.max(case((stock_movements.c.kind == COUNT, stock_movements.c.at))).label(
            "counted_since"
        ),
    )
    .join(
        stock_levels,
        and_(stock_levels.c.sku == _as_of.c.sku, stock_levels.c.location == _as_of.c.location),
    )
    .outerjoin(stock_movements, _after)
    .group_by(_as_of.c.n, _as_of.c.at, stock_levels.c.on_hand)
)


def standing(tx: Tx, at: Sequence[tuple[Level, datetime | None]]) -> list[Standing]:
    """How levels stood at a time (None: now), in the order given. The caller holds their locks."""
    given = [(n, *level, when) for n, (level, when) in enumerate(at)]
    found = {r.n: r for r in tx.execute(_STANDING, {"rows": pack(given)})}
    return [
        Standing(int(found[n].on_hand), bool(found[n].is_future), found[n].counted_since)
        for n in range(len(given))
    ]


_ON_HAND = select(stock_levels.c.location, stock_levels.c.on_hand).where(
    stock_levels.c.sku == bindparam("wanted")
)
_MOVEMENTS = (
    select(stock_movements)
    .where(stock_movements.c.sku == bindparam("wanted"))
    .order_by(stock_movements.c.at.desc(), stock_movements.c.id.desc())
    .limit(bindparam("most"))
)


def ledger(tx: Tx, sku: str, most: int) -> list[dict[str, Any]]:
    """The last movements of a SKU, the newest last, each with what was on hand at its location
    after it. A count stands at the time it was taken."""
    balance = {r.location: r.on_hand for r in tx.execute(_ON_HAND, {"wanted": sku})}
    told = []
    for r in tx.execute(_MOVEMENTS, {"wanted": sku, "most": most}):
        told.append(
            {
                "at": r.at, "location": r.location, "kind": r.kind, "quantity": r.quantity,
                "balance": balance[r.location], "actor": r.actor, "reason": r.reason,
                "reference": r.reference,
            }
        )  # fmt: skip
        balance[r.location] -= r.quantity
    return told[::-1]


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


_available = func.coalesce(
    func.sum(stock_levels.c.on_hand - stock_levels.c.reserved - stock_levels.c.safety), 0
)
_LOW = (
    select(
        products.c.sku,
        products.c.name,
        func.coalesce(func.sum(stock_levels.c.on_hand), 0).label("on_hand"),
        func.coalesce(func.sum(stock_levels.c.reserved), 0).label("reserved"),
        _available.label("available"),
    )
    .outerjoin(stock_levels, stock_levels.c.sku == products.c.sku)
    .where(products.c.active)
    .group_by(products.c.sku, products.c.name)
    .having(_available < bindparam("below"))
    .order_by(_available, products.c.sku)
)


def low(tx: Tx, below: int) -> list[dict[str, Any]]:
    """Active products with fewer than so many units available over all locations, the fewest first;
    those that were never in stock are among them."""
    return [
        {name: int(v) if name not in ("sku", "name") else v for name, v in r._mapping.items()}
        for r in tx.execute(_LOW, {"below": below})
    ]
