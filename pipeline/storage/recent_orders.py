"""The orders of the last days, the newest first, page by page."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from pipeline.order import Order
from pipeline.storage.database import Tx
from pipeline.storage.orders import load
from pipeline.storage.sql import now
from pipeline.storage.tables import order_documents, orders


@dataclass(frozen=True, slots=True)
class Page:
    """`orders`, the newest first; `erased`: the ids of those that don't say any more who ordered."""

    orders: list[Order]
    erased: frozenset[int]


def page(tx: Tx, seconds: float, below: int | None, most: int) -> Page:
    """Up to `most` orders with ids under `below` (None: from the newest on) that were accepted within
    the last `seconds`. Ids rise with the time of acceptance, so the walk ends at the first that is
    older, and reads no others."""
    newest = select(orders.c.id, orders.c.accepted_at).order_by(orders.c.id.desc()).limit(most)
    if below is not None:
        newest = newest.where(orders.c.id < below)
    nearest = newest.subquery()
    accepted = (
        select(nearest.c.id, order_documents.c.erased_at)
        .join(order_documents, order_documents.c.order_id == nearest.c.id)
        .order_by(nearest.c.id.desc())
    )
    found = list(tx.execute(accepted.where(nearest.c.accepted_at >= now(-seconds))))
    loaded = load(tx, [row.id for row in found])
    return Page(
        [each.order for each in reversed(loaded)],
        frozenset(row.id for row in found if row.erased_at is not None),
    )


def count(tx: Tx, seconds: float) -> int:
    """How many orders that are not archived were accepted within the last `seconds`. Reads them all."""
    accepted = select(func.count()).where(orders.c.accepted_at >= now(-seconds))
    return int(tx.execute(accepted).scalar_one())
