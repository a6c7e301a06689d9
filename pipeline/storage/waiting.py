"""Who waits for stock, to be looked at: what an order waits for, and who waits for a SKU."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, func, select

from pipeline.storage.database import Tx
from pipeline.storage.tables import backorders, orders, sources

_earlier = backorders.alias("earlier")
_OF_ORDER = (
    select(
        backorders.c.sku,
        backorders.c.units,
        backorders.c.since,
        select(func.count())
        .select_from(_earlier)
        .where(_earlier.c.sku == backorders.c.sku, _earlier.c.order_id < backorders.c.order_id)
        .scalar_subquery()
        .label("before"),
    )
    .where(backorders.c.order_id == bindparam("wanted"))
    .order_by(backorders.c.sku)
)
_FOR_SKU = (
    select(
        backorders.c.order_id, sources.c.name.label("source"), orders.c.external_id,
        orders.c.status, backorders.c.units, backorders.c.since,
    )
    .join(orders, orders.c.id == backorders.c.order_id)
    .join(sources, sources.c.id == orders.c.source_id)
    .where(backorders.c.sku == bindparam("wanted"))
    .order_by(backorders.c.order_id)
    .limit(bindparam("most"))
)  # fmt: skip


def of_order(tx: Tx, order_id: int) -> list[dict[str, Any]]:
    """What an order waits for: sku, units, since when it waits, and how many orders that were
    accepted earlier wait for the same SKU. Counts these."""
    return [dict(r._mapping) for r in tx.execute(_OF_ORDER, {"wanted": order_id})]


def for_sku(tx: Tx, sku: str, most: int) -> list[dict[str, Any]]:
    """The first orders that wait for a SKU, in the order in which they will have it."""
    return [dict(r._mapping) for r in tx.execute(_FOR_SKU, {"wanted": sku, "most": most})]
