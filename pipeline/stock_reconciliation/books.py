"""What the books say twice, and differently: the audit's rules on stock, as differences."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import BigInteger, Select, String, cast, func, literal, select, union_all

from pipeline.audit.rules import (
    ledger,
    promises,
    promises_in_ledger,
    stock_held,
    stock_returned,
)
from pipeline.storage.tables import reservations

#: ledger    Σ movements is not what is on hand
#: reserved  Σ reservations is not what is reserved
#: promised  what the movements promise is not what is reserved
#: over      an order that is over, or not at its stock yet, holds units
#: lacking   an order past its stock doesn't hold what its lines say
#: count     what was counted is not what was on hand then
Kind = Literal["ledger", "reserved", "promised", "over", "lacking", "count"]

_over = stock_returned.RULE.broken.subquery("over_orders")
_lacking = stock_held.RULE.broken.subquery("lacking_lines")


def _sums(rule: Any, kind: Kind) -> Select[Any]:
    level = rule.broken.subquery(f"{kind}_levels").c
    return select(
        literal(kind).label("kind"), level.sku, level.location,
        cast(literal(0), BigInteger).label("of_order"),
        level.rows.label("expected"), level.total.label("found"),
    )  # fmt: skip


#: kind, sku, location ("" of no one), of_order (0 of no one), expected and found, of each.
DIFFERENCES = union_all(
    _sums(ledger.RULE, "ledger"),
    _sums(promises.RULE, "reserved"),
    _sums(promises_in_ledger.RULE, "promised"),
    select(
        literal("over"), reservations.c.sku, reservations.c.location, reservations.c.order_id,
        literal(0), func.sum(reservations.c.quantity),
    )
    .where(reservations.c.order_id.in_(select(_over.c.order_id)))
    .group_by(reservations.c.sku, reservations.c.location, reservations.c.order_id),
    select(
        literal("lacking"), _lacking.c.sku, cast(literal(""), String), _lacking.c.order_id,
        func.sum(_lacking.c.ordered), func.sum(_lacking.c.held),
    ).group_by(_lacking.c.sku, _lacking.c.order_id),
)  # fmt: skip
