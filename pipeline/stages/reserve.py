"""reserve: → reserved. Units and coupons are promised to the order, all or none, under lock.

In:  an order whose SKUs exist; several orders (and lines) may want the same units, and the last
     use of a coupon.
Out: Advance, with reservations and redemptions written; Reject (coupon_exhausted); Retry in
     `backordered` where every SKU that lacks may wait; Hold (sku_held) where units of all that may
     not are held back until a person has looked; Reject (out_of_stock) otherwise. An order
     that waits for stock holds no use of a coupon: it may wait for ever, and others are buying.
     Those accepted earlier go first, in the batch and before it; one that waited may have been
     given its units by whoever brought them (storage/backorders.py), and is sent on.
Undo: gives both back, to those who wait for them.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.inventory.queue import Answer, Spent, Wait, Withheld
from pipeline.order import Order, Status
from pipeline.outcome import Advance, Hold, Outcome, Reject, Retry
from pipeline.stages.step import InnerStep
from pipeline.storage import backorders, stock
from pipeline.storage.database import Tx

#: Seconds between looks for stock. Only a safety net: stock that arrives wakes those it is for.
BACKORDER_LOOK = 300.0


def decide(answer: Answer) -> Outcome:
    """Pure: go on, wait or give up."""
    if isinstance(answer, list):
        return Advance()
    if isinstance(answer, Spent):
        return Reject("coupon_exhausted", {"coupon": answer.code})
    detail = {"skus": answer.skus[:10]}
    if isinstance(answer, Wait):
        return Retry("awaiting_stock", detail, BACKORDER_LOOK, False, Status.BACKORDERED)
    if isinstance(answer, Withheld):
        return Hold("sku_held", detail)
    return Reject("out_of_stock", detail)


class Reserve(InnerStep):
    def settle(self, tx: Tx, orders: Sequence[Order], findings: None) -> list[Outcome]:
        answers = backorders.serve(tx, backorders.lock(tx, orders), "reserve")
        return [decide(answers[order.id]) for order in orders]


class UndoReserve(InnerStep):
    def settle(self, tx: Tx, orders: Sequence[Order], findings: None) -> list[Outcome]:
        stock.release(tx, {order.id: order.reason for order in orders}, "undo_reserve")
        return [Advance() for _ in orders]
