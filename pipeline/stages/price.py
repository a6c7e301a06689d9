"""price: validated → priced. What does it cost?

In:  a validated order; its source says whose prices count, and which rules.
Out: Advance, with the quote, its lines and its explanation written once; Reject (no price, no
     shipping, a coupon that can't be used); Hold (no tax rate, what isn't the customer's doing, or a
     total over the source's limit).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.money import to_text
from pipeline.order import Order
from pipeline.outcome import Advance, Hold, Outcome, Reject
from pipeline.pricing.carts import Goods, Prices, cart_of, is_as_sold
from pipeline.pricing.engine import price
from pipeline.pricing.quote import NotPriced, Quote
from pipeline.pricing.redemption import Key, Use, keys_of, spent, uses_of
from pipeline.stages.step import InnerStep
from pipeline.storage import catalogue, coupons, quotes, rules
from pipeline.storage import orders as order_store
from pipeline.storage.database import Tx
from pipeline.storage.quotes import Priced
from pipeline.storage.rules import Version


@dataclass(frozen=True, slots=True)
class Facts:
    """What is looked up to price a batch. `rules` by name; `used`: how often coupons are in use;
    `of_regulars`: orders whose customer has an earlier one, asked only where rules ask for it."""

    goods: Mapping[str, Goods]
    prices: Prices
    rules: Mapping[str, Version]
    used: Mapping[Key, int]
    of_regulars: frozenset[int]


def look_up(tx: Tx, orders: Sequence[Order], given: Version | None = None) -> Facts:
    """The facts for `orders`; `given` rules stand in for those of their sources."""
    names = {order.source.policy.rules for order in orders}
    versions = dict.fromkeys(names, given) if given else rules.newest(tx, names)
    known = [(order, versions[order.source.policy.rules]) for order in orders]
    lines = [(order, line) for order in orders for line in order.lines]
    return Facts(
        catalogue.goods(tx, {line.sku for _, line in lines}),
        catalogue.list_prices(
            tx, {(line.sku, o.currency) for o, line in lines if line.unit_price is None}
        ),
        versions,
        coupons.used(tx, keys_of(use for o, v in known for use in wished(o, v))),
        frozenset(
            order_store.of_regulars(
                tx,
                [
                    (order.id, customer)
                    for order, version in known
                    # Asked first: a customer's key is a hash.
                    if version.rules.asks_first_order and (customer := order.customer)
                ],
            )
        ),
    )


def wished(order: Order, version: Version) -> list[Use]:
    """Pure: what it would be for `order` to use the coupons that it gives."""
    codes = order.coupons
    return uses_of(order, version.name, version.rules, codes) if codes else []


def quote(order: Order, facts: Facts) -> Quote | NotPriced:
    """Pure: what `order` costs, or why that can't be said."""
    version = facts.rules[order.source.policy.rules]
    uses = wished(order, version)
    # Only a look: what counts is decided under lock by the reserve stage.
    final = not is_as_sold(order)
    if code := spent(uses, facts.used):
        return NotPriced("coupon_exhausted", {"coupon": code}, final)
    for use in uses:
        if use.limit_per_customer is not None and not use.customer:
            why = "it is limited for each customer, and the order names none"
            return NotPriced("coupon_not_applicable", {"coupon": use.code, "why": why}, final)
    cart = cart_of(order, facts.goods, facts.prices, first_order=_is_first(order, version, facts))
    return cart if isinstance(cart, NotPriced) else price(cart, version.rules)


def _is_first(order: Order, version: Version, facts: Facts) -> bool:
    """Where a rule asks: whether it is its customer's first. Who isn't known may have ordered before."""
    asked = version.rules.asks_first_order
    return asked and order.id not in facts.of_regulars and order.customer is not None


def decide(order: Order, found: Quote | NotPriced) -> Outcome:
    """Pure: what a quote, or its want, means for `order`."""
    if isinstance(found, NotPriced):
        return (Reject if found.final else Hold)(found.reason, found.detail)
    limit = order.source.policy.hold_over.get(order.currency)
    total = to_text(found.total, order.currency)
    if limit is not None and found.total > limit and not order.approved:
        return Hold("amount_over_limit", {"total": total, "limit": to_text(limit, order.currency)})
    return Advance({"total": total})


class Price(InnerStep):
    def settle(self, tx: Tx, orders: Sequence[Order], findings: None) -> list[Outcome]:
        facts = look_up(tx, orders)
        found = [quote(order, facts) for order in orders]
        outcomes = [decide(order, each) for order, each in zip(orders, found, strict=True)]
        quotes.add(
            tx,
            [
                _priced(order, each, facts)
                for order, each, outcome in zip(orders, found, outcomes, strict=True)
                if isinstance(each, Quote) and isinstance(outcome, Advance)
            ],
        )
        return outcomes


def _priced(order: Order, quoted: Quote, facts: Facts) -> Priced:
    version = facts.rules[order.source.policy.rules]
    return Priced(order.id, quoted, version.name, version.number)
