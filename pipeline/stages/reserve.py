"""reserve: → reserved. Units and coupons are promised to the order, all or none, under lock.

In:  an order whose SKUs exist; several orders (and lines) may want the same units, and the last
     use of a coupon.
Out: Advance, with reservations and redemptions written; Reject (coupon_exhausted); Retry in
     `backordered` where every SKU that lacks may wait; Reject (out_of_stock) otherwise. An order
     that waits for stock holds no use of a coupon: it may wait for ever, and others are buying.
Undo: gives both back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.inventory.allocation import Allotment, Demand, Shelves, Shortage
from pipeline.order import Order, Status
from pipeline.outcome import Advance, Outcome, Reject, Retry
from pipeline.pricing.redemption import Purse, Use, keys_of, uses_of
from pipeline.stages.step import InnerStep
from pipeline.storage import catalogue, coupons, quotes, rules, stock
from pipeline.storage.catalogue import Product
from pipeline.storage.database import Tx

#: Seconds between looks for stock. Only a safety net: stock that arrives wakes those who wait.
BACKORDER_LOOK = 300.0


def demand(order: Order) -> Demand:
    return Demand(
        order.id,
        tuple((n, line.sku, line.quantity) for n, line in enumerate(order.lines, start=1)),
    )


@dataclass(frozen=True, slots=True)
class Spent:
    """Why an order gets nothing: a coupon of its has no use left."""

    code: str


Answer = list[Allotment] | Shortage | Spent


def decide(answer: Answer, products: Mapping[str, Product]) -> Outcome:
    """Pure: go on, wait or give up; by the policy of the products that lack."""
    if isinstance(answer, list):
        return Advance()
    if isinstance(answer, Spent):
        return Reject("coupon_exhausted", {"coupon": answer.code})
    detail = {"skus": answer.skus[:10]}
    if all(sku in products and products[sku].backorder for sku in answer.skus):
        return Retry("awaiting_stock", detail, BACKORDER_LOOK, False, Status.BACKORDERED)
    return Reject("out_of_stock", detail)


def uses(tx: Tx, orders: Sequence[Order]) -> dict[int, list[Use]]:
    """The coupons that the orders' quotes used, by order id, with the limits of the rules that
    each was priced by."""
    giving = {order.id: order for order in orders if order.coupons}
    if not giving:
        return {}
    redeemable = quotes.coupons(tx, giving)
    known = rules.numbered(tx, {(r.rules, r.version) for r in redeemable.values()})
    return {
        i: uses_of(giving[i], r.rules, known[(r.rules, r.version)].rules, r.codes)
        for i, r in redeemable.items()
    }


def serve(
    orders: Sequence[Order], shelves: Shelves, purse: Purse, wanted: Mapping[int, list[Use]]
) -> list[Answer]:
    """Pure: one order after another gets its units and its coupons, both or neither."""
    answers: list[Answer] = []
    for order in orders:
        its = wanted.get(order.id, [])
        code = purse.spent(its)
        answer = Spent(code) if code else shelves.take(demand(order))
        if isinstance(answer, list):
            purse.take(its)
        answers.append(answer)
    return answers


class Reserve(InnerStep):
    def settle(self, tx: Tx, orders: Sequence[Order], findings: None) -> list[Outcome]:
        shelves = Shelves(stock.lock_available(tx, {x.sku for o in orders for x in o.lines}))
        wanted = uses(tx, orders)
        purse = Purse(coupons.lock_used(tx, keys_of(u for its in wanted.values() for u in its)))
        answers = serve(orders, shelves, purse, wanted)
        served = [order.id for order, a in zip(orders, answers, strict=True) if isinstance(a, list)]
        stock.reserve(tx, [each for a in answers if isinstance(a, list) for each in a])
        coupons.redeem(tx, [use for order_id in served for use in wanted.get(order_id, [])])
        return self._outcomes(tx, answers)

    def _outcomes(self, tx: Tx, answers: Sequence[Answer]) -> list[Outcome]:
        short = {sku for answer in answers if isinstance(answer, Shortage) for sku in answer.skus}
        products = catalogue.products_by_sku(tx, short) if short else {}
        return [decide(answer, products) for answer in answers]


class UndoReserve(InnerStep):
    def settle(self, tx: Tx, orders: Sequence[Order], findings: None) -> list[Outcome]:
        order_ids = [order.id for order in orders]
        stock.release(tx, order_ids)
        coupons.give_back(tx, order_ids)
        return [Advance() for _ in orders]
