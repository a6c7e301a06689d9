"""price: validated → priced. What does it cost?

In:  a validated order; its source says whose prices count, and which tax and rounding apply.
Out: Advance, with the quote and its lines written once; Reject (no price); Hold (no tax rate, or
     a total over the source's limit).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.money import to_text
from pipeline.order import Order
from pipeline.outcome import Advance, Hold, Outcome, Reject
from pipeline.pricing.quote import PricedLine, Quote, quote
from pipeline.stages.step import InnerStep
from pipeline.storage import catalogue, quotes
from pipeline.storage.database import Tx

UnitPrices = Mapping[tuple[str, str], int]


def decide(order: Order, prices: UnitPrices) -> Quote | Reject | Hold:
    """Pure: the quote of `order`, or why there is none. `prices` by (sku, currency)."""
    policy = order.source.policy
    lines: list[PricedLine] = []
    for line in order.lines:
        price = line.unit_price if policy.price_policy == "as_sold" else None
        if price is None:
            price = prices.get((line.sku, order.currency))
        if price is None:
            return Reject("no_price", {"sku": line.sku, "currency": order.currency})
        lines.append(PricedLine(line.sku, line.quantity, price))
    rate = policy.tax_rate(order.country)
    if rate is None:
        return Hold("no_tax_rate", {"country": order.country})
    quoted = quote(
        lines,
        rate,
        includes_tax=policy.prices_include_tax,
        rounding_mode=policy.rounding_mode,
        rounding_level=policy.rounding_level,
    )
    limit = policy.hold_over.get(order.currency)
    if limit is not None and quoted.total > limit and not order.approved:
        total = to_text(quoted.total, order.currency)
        return Hold("amount_over_limit", {"total": total, "limit": to_text(limit, order.currency)})
    return quoted


class Price(InnerStep):
    def settle(self, tx: Tx, orders: Sequence[Order], findings: None) -> list[Outcome]:
        wanted = {(x["sku"], order.currency) for order in orders for x in order.document["lines"]}
        prices = catalogue.unit_prices(tx, wanted)
        decided = [decide(order, prices) for order in orders]
        priced = [
            (order, q) for order, q in zip(orders, decided, strict=True) if isinstance(q, Quote)
        ]
        quotes.add(tx, [(order.id, q) for order, q in priced])
        return [
            Advance({"total": to_text(d.total, order.currency)}) if isinstance(d, Quote) else d
            for order, d in zip(orders, decided, strict=True)
        ]
