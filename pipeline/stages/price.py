"""price: validated → priced. What does it cost?

In:  a validated order; its source says whose prices count, which rules, and whether VIES is asked
     about a VAT id that would spare it the tax.
Out: Advance, with the quote, its lines and its explanation written once; Reject (no price, no
     shipping, a coupon that can't be used); Retry (VIES gave no answer); Hold (no tax rate, a VAT id
     that VIES doesn't confirm, what isn't the customer's doing, or a total over the source's limit).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.money import to_text
from pipeline.order import Order
from pipeline.outcome import Advance, Hold, Outcome, Reject, Retry
from pipeline.pricing.carts import Goods, Prices, cart_of, is_as_sold
from pipeline.pricing.engine import price
from pipeline.pricing.quote import NotPriced, Quote
from pipeline.pricing.redemption import Key, Use, keys_of, spent, uses_of
from pipeline.stages.step import Step
from pipeline.storage import catalogue, coupons, quotes, rules
from pipeline.storage import orders as order_store
from pipeline.storage.database import Tx
from pipeline.storage.quotes import Priced
from pipeline.storage.rules import Version
from pipeline.vat.check import (
    TRIES,
    VatCheck,
    as_kept,
    is_reverse_charged,
    outcome_of,
    vat_id_to_ask,
)
from pipeline.vat.vies import VatIds


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


#: What VIES said, by order.
Checks = Mapping[int, VatCheck]


class Price(Step[Mapping[int, str], Checks]):
    """`vat_ids` are asked about ids that would spare an order its tax, where its source says so:
    `tries` times before the source's policy says what becomes of one that has no answer."""

    def __init__(self, vat_ids: VatIds, tries: int = TRIES) -> None:
        self._vat_ids = vat_ids
        self._tries = tries

    def calls_out(self, orders: Sequence[Order]) -> bool:
        return any(vat_id_to_ask(order) for order in orders)

    def intend(self, tx: Tx, orders: Sequence[Order]) -> dict[int, str]:
        """The VAT ids to ask about, by order: those that its tax depends on."""
        by_order = {o.id: vat_id for o in orders if (vat_id := vat_id_to_ask(o))}
        asking = [order for order in orders if order.id in by_order]
        facts = look_up(tx, asking)
        return {o.id: by_order[o.id] for o in asking if _is_reverse_charged(quote(o, facts))}

    def call(self, plan: Mapping[int, str]) -> Checks:
        said = self._vat_ids.ask(set(plan.values())) if plan else {}
        return {order_id: said[vat_id] for order_id, vat_id in plan.items()}

    def settle(self, tx: Tx, orders: Sequence[Order], findings: Checks | None) -> list[Outcome]:
        facts = look_up(tx, orders)
        found = [quote(order, facts) for order in orders]
        checks = findings or {}
        outcomes = [
            self._vat_outcome(order, each, checks) or decide(order, each)
            for order, each in zip(orders, found, strict=True)
        ]
        if checks:
            order_store.write_vat_checks(tx, {i: as_kept(check) for i, check in checks.items()})
        quotes.add(
            tx,
            [
                _priced(order, each, facts)
                for order, each, outcome in zip(orders, found, outcomes, strict=True)
                if isinstance(each, Quote) and isinstance(outcome, Advance)
            ],
        )
        return outcomes

    def _vat_outcome(
        self, order: Order, found: Quote | NotPriced, checks: Checks
    ) -> Outcome | None:
        """What becomes of it for its VAT id; None: it is priced as any other."""
        if vat_id_to_ask(order) is None or not _is_reverse_charged(found):
            return None
        check = checks.get(order.id)
        if check is None:  # the rules have come to spare it the tax since it was looked at
            return Retry("vat_check", after=1.0, burns=False)
        return outcome_of(order, check, self._tries)


def _is_reverse_charged(found: Quote | NotPriced) -> bool:
    return isinstance(found, Quote) and is_reverse_charged(found.steps)


def _priced(order: Order, quoted: Quote, facts: Facts) -> Priced:
    version = facts.rules[order.source.policy.rules]
    return Priced(order.id, quoted, version.name, version.number)
