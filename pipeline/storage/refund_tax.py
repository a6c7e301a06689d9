"""What the refunds of orders are made of, read together with all that it depends on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from sqlalchemy import select

from pipeline.payments.refund_tax import Split, splits
from pipeline.payments.refunds import Part
from pipeline.pricing.quote import Quote
from pipeline.storage import fulfilment, payments, quotes
from pipeline.storage.database import Tx
from pipeline.storage.sql import ids, pack
from pipeline.storage.tables import refund_lines

_PARTS = select(refund_lines).where(refund_lines.c.order_id.in_(ids()))


def splits_of(
    tx: Tx, order_ids: Collection[int], archived: Mapping[int, Quote] | None = None
) -> dict[tuple[int, str], Split]:
    """Net and tax of the refunds of these orders, which are priced, by order id and key. The quotes
    of those that are `archived` stand in their archive."""
    if not order_ids:
        return {}
    quoted = quotes.read(tx, sorted(order_ids)) | dict(archived or {})
    cancelled = fulfilment.cancelled(tx, order_ids)
    parts: dict[int, dict[str, list[Part]]] = defaultdict(lambda: defaultdict(list))
    for r in tx.execute(_PARTS, {"ids": pack(order_ids)}):
        parts[r.order_id][r.key].append(Part(r.line_no, r.units, r.amount))
    return {
        (order_id, key): split
        for order_id, written in payments.read(tx, order_ids).items()
        if order_id in quoted
        for key, split in splits(
            quoted[order_id], cancelled.get(order_id, ()), written, parts[order_id]
        ).items()
    }
