"""reserve: → reserved. Units are promised to the order, all lines or none, under lock.

In:  an order whose SKUs exist; several orders (and lines) may want the same units.
Out: Advance, with reservations written; Retry in `backordered` where every SKU that lacks may
     wait; Reject (out_of_stock) otherwise.
Undo: gives the units back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.inventory.allocation import Demand, Shortage, allocate
from pipeline.order import Order, Status
from pipeline.outcome import Advance, Outcome, Reject, Retry
from pipeline.stages.step import InnerStep
from pipeline.storage import catalogue, stock
from pipeline.storage.catalogue import Product
from pipeline.storage.database import Tx

#: Seconds between looks for stock. Only a safety net: stock that arrives wakes those who wait.
BACKORDER_LOOK = 300.0


def demand(order: Order) -> Demand:
    return Demand(
        order.id,
        tuple((n, line.sku, line.quantity) for n, line in enumerate(order.lines, start=1)),
    )


def decide_shortage(shortage: Shortage, products: Mapping[str, Product]) -> Outcome:
    """Pure: wait or give up, by the policy of the products that lack."""
    detail = {"skus": shortage.skus[:10]}
    if all(sku in products and products[sku].backorder for sku in shortage.skus):
        return Retry("awaiting_stock", detail, BACKORDER_LOOK, False, Status.BACKORDERED)
    return Reject("out_of_stock", detail)


class Reserve(InnerStep):
    def settle(self, tx: Tx, orders: Sequence[Order], findings: None) -> list[Outcome]:
        demands = [demand(order) for order in orders]
        available = stock.lock_available(tx, {sku for d in demands for _, sku, _ in d.lines})
        answers = allocate(demands, available)
        stock.reserve(tx, [a for answer in answers if isinstance(answer, list) for a in answer])
        short = {sku for answer in answers if isinstance(answer, Shortage) for sku in answer.skus}
        products = catalogue.products_by_sku(tx, short) if short else {}
        return [
            Advance() if isinstance(answer, list) else decide_shortage(answer, products)
            for answer in answers
        ]


class UndoReserve(InnerStep):
    def settle(self, tx: Tx, orders: Sequence[Order], findings: None) -> list[Outcome]:
        stock.release(tx, [order.id for order in orders])
        return [Advance() for _ in orders]
