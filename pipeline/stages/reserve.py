"""reserve: → reserved. Units and coupons are promised to the order under lock; it goes on with all.

In:  an order whose SKUs exist; several orders (and lines) may want the same units, and the last
     use of a coupon.
Out: Advance, with reservations and redemptions written; Reject (coupon_exhausted); Retry in
     `backordered` where every SKU that lacks may wait; Hold (sku_held) where units of all that may
     not are held back until a person has looked; Reject (out_of_stock) otherwise. An order
     that waits keeps what there is of its units, and its coupons with the first of them, unless its
     source's policy says that it takes nothing until all is there. One that has waited for longer
     than its source lets it is held or rejected (backorder_expired).
     Those accepted earlier go first, in the batch and before it; one that waited may have been
     given its units by whoever brought them (storage/backorders.py), and is sent on.
Undo: gives both back, to those who wait for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from pipeline.inventory.queue import Answer, OutOfStock, Spent, Wait, Withheld
from pipeline.order import Order, Status
from pipeline.outcome import Advance, Hold, Outcome, Reject, Retry
from pipeline.stages.step import InnerStep
from pipeline.storage import backorders, stock
from pipeline.storage.backorders import Limit
from pipeline.storage.database import Tx

#: Seconds between looks for stock: stock that arrives wakes those it is for, so this is a safety
#: net, and how late it may be noticed that an order has waited for too long.
BACKORDER_LOOK = 300.0
DAY = 86_400.0


def decide(answer: Answer) -> Outcome:
    """Pure: go on, wait or give up."""
    if isinstance(answer, list):
        return Advance()
    if isinstance(answer, Spent):
        return Reject("coupon_exhausted", {"coupon": answer.code})
    if isinstance(answer, Wait):
        detail = {"skus": list(answer.lacks)[:10]}
        return Retry("awaiting_stock", detail, BACKORDER_LOOK, False, Status.BACKORDERED)
    detail = {"skus": list(answer.skus[:10])}
    if isinstance(answer, Withheld):
        return Hold("sku_held", detail)
    return Reject(
        "out_of_stock", detail, had_effect=isinstance(answer, OutOfStock) and answer.holds
    )


def limit_of(order: Order) -> Limit | None:
    """Pure: how long it may wait; None: for ever."""
    days = order.source.policy.backorder_days
    if days is None:
        return None
    last = order.decided.get("wait_until")
    until = datetime.fromisoformat(f"{last}T00:00Z") + timedelta(days=1) if last else None
    return Limit(order.id, days * DAY, until)


def expired(order: Order, waited: Wait) -> Outcome:
    """Pure: what becomes of an order that has waited for too long. It is undone by its undo, which
    also takes it out of the queue; on hold it keeps its place, and what it holds."""
    detail = {"skus": list(waited.lacks)[:10], "days": order.source.policy.backorder_days}
    if order.source.policy.backorder_ends == "cancel":
        return Reject("backorder_expired", detail, had_effect=True)
    return Hold("backorder_expired", detail)


class Reserve(InnerStep):
    def settle(self, tx: Tx, orders: Sequence[Order], findings: None) -> list[Outcome]:
        answers = backorders.serve(tx, backorders.lock(tx, orders), "reserve")
        waits = {i: answer for i, answer in answers.items() if isinstance(answer, Wait)}
        limits = [limit for o in orders if o.id in waits if (limit := limit_of(o))]
        overdue = backorders.overdue(tx, limits)
        return [
            expired(order, waits[order.id]) if order.id in overdue else decide(answers[order.id])
            for order in orders
        ]


class UndoReserve(InnerStep):
    def settle(self, tx: Tx, orders: Sequence[Order], findings: None) -> list[Outcome]:
        stock.release(tx, {order.id: order.reason for order in orders}, "undo_reserve")
        return [Advance() for _ in orders]
