"""What a day brought, by source: orders in and how they ended, what waits for a person, money moved."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, func, or_, select

from pipeline.order import Status
from pipeline.storage.database import Tx
from pipeline.storage.sql import UtcDateTime
from pipeline.storage.tables import orders
from pipeline.storage.tables import payment_operations as ops


def _within(column: ColumnElement[Any]) -> ColumnElement[bool]:
    return and_(
        column >= bindparam("since", type_=UtcDateTime),
        column < bindparam("until", type_=UtcDateTime),
    )


_ENDS = (Status.CONFIRMED, Status.REJECTED, Status.CANCELLED)
_number = func.count().label("orders")
_IN = (
    select(orders.c.source_id, _number)
    .where(_within(orders.c.accepted_at))
    .group_by(orders.c.source_id)
)
_STATES = (
    select(
        orders.c.source_id, orders.c.status, orders.c.reason, _number,
        func.min(orders.c.settled_at).label("oldest"),
    )
    .where(
        or_(
            orders.c.status == Status.ON_HOLD,
            and_(orders.c.status.in_(_ENDS), _within(orders.c.settled_at)),
        )
    )
    .group_by(orders.c.source_id, orders.c.status, orders.c.reason)
    .order_by(orders.c.source_id, orders.c.status, orders.c.reason)
)  # fmt: skip
_MONEY = (
    select(orders.c.source_id, ops.c.kind, ops.c.currency, func.sum(ops.c.amount).label("amount"))
    .join(orders, orders.c.id == ops.c.order_id)
    .where(_within(ops.c.at), ops.c.state == "succeeded", ops.c.kind.in_(["capture", "refund"]))
    .group_by(orders.c.source_id, ops.c.kind, ops.c.currency)
    .order_by(orders.c.source_id, ops.c.kind, ops.c.currency)
)


def accepted(tx: Tx, since: datetime, until: datetime) -> dict[int, int]:
    """Orders that came in, by source id."""
    return {r.source_id: r.orders for r in tx.execute(_IN, {"since": since, "until": until})}


def states(tx: Tx, since: datetime, until: datetime) -> list[Any]:
    """By source id, status and reason: orders that ended so in the time, and those on hold now with
    when the oldest was put there. An order counts as what it is now."""
    return list(tx.execute(_STATES, {"since": since, "until": until}))


def money(tx: Tx, since: datetime, until: datetime) -> list[Any]:
    """By source id, kind (capture, refund) and currency: minor units moved in the time."""
    return list(tx.execute(_MONEY, {"since": since, "until": until}))
