"""price: validated → priced. What does it cost?

In:  a validated order; its source says whose prices count, which rules, and whether VIES is asked
     about a VAT id that would spare it the tax.
Out: Advance, with the quote, its lines and its explanation written once; Reject (no price, no
     shipping, a coupon that can't be used); Retry (VIES gave no answer); Hold (no tax rate, a VAT id
     that VIES doesn't confirm, what isn't the customer's doing, a total that is not the one that was
     shown, or one over the source's limit).

What counts is what was in force when the order was placed, or else accepted, whenever this runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pipeline.money import to_text
from pipeline.order import Order
from pipeline.outcome import Advance, Hold, Outcome, Reject, Retry
from pipeline.pricing.carts import Goods, cart_of, is_as_sold
from pipeline.pricing.engine import price
from pipeline.pricing.prices import PriceBook
from pipeline.pricing.quote import NotPriced, Quote
from pipeline.pricing.redemption import Key, Use, spent, uses_of
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

#: Why the rules in force at an order's moment may fail to price it through no fault of the
#: customer's: the newest are asked then, which somebody may have mended.
RULES_MEND = frozenset(
    {
        "no_tax_rate", "no_shipping_rate", "no_shipping_method", "coupon_unknown",
        "coupon_expired", "coupon_not_applicable",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Facts:
    """What is looked up to price a batch. `rules` by name, the newest; `earlier` those that were the
    newest at the moment of orders from before; `used`: how often coupons are in use; `of_regulars`:
    orders whose customer has an earlier one, asked only where rules ask for it."""

    goods: Mapping[str, Goods]
    prices: PriceBook
    rules: Mapping[str, Version]
    earlier: Mapping[tuple[str, datetime], Version]
    used: Mapping[Key, int]
    of_regulars: frozenset[int]


def look_up(
    tx: Tx, orders: Sequence[Order], given: Version | None = None, *, by_newest: bool = False
) -> Facts:
    """The facts for `orders`; `given` rules stand in for those of their sources. `by_newest`: by the
    newest rules, whatever the orders' moments are."""
    names = {order.source.policy.rules for order in orders}
    newest = dict.fromkeys(names, given) if given else rules.newest(tx, names)
    old = () if by_newest else [o for o in orders if _is_before(o, newest)]
    earlier = rules.in_force(tx, {(o.source.policy.rules, o.moment) for o in old}) if old else {}
    known = [(o, version) for o in orders for version in _versions(o, newest, earlier)]
    return Facts(
        catalogue.goods(tx, {line.sku for order in orders for line in order.lines}),
        catalogue.price_book(
            tx,
            [
                (line.sku, order.currency, moment)
                for order in orders
                for moment in [order.moment]
                for line in order.lines
                if line.unit_price is None
            ],
        ),
        newest,
        earlier,
        coupons.used_by(tx, [use for o, v in known for use in wished(o, v)]),
        frozenset(
            order_store.of_regulars(
                tx,
                [
                    (order.id, key, order.moment)
                    for order, version in known
                    # Asked first: a customer's key is a hash.
                    if version.rules.asks_first_order
                    for key in order.lookup_keys
                    if key is not None
                ],
            )
        ),
    )


def _is_before(order: Order, newest: Mapping[str, Version]) -> bool:
    """Whether the newest rules weren't there yet at the order's moment."""
    imported_at = newest[order.source.policy.rules].imported_at
    return imported_at is not None and order.moment < imported_at


def _versions(
    order: Order, newest: Mapping[str, Version], earlier: Mapping[tuple[str, datetime], Version]
) -> list[Version]:
    """The rules that `order` may be priced by: those in force at its moment, then the newest."""
    name = order.source.policy.rules
    last = newest[name]
    then = earlier.get((name, order.moment)) if earlier else None
    return [last] if then is None or then.number == last.number else [then, last]


def wished(order: Order, version: Version) -> list[Use]:
    """Pure: what it would be for `order` to use the coupons that it gives."""
    codes = order.coupons
    return uses_of(order, version.name, version.rules, codes) if codes else []


def quote(order: Order, facts: Facts) -> tuple[Version, Quote | NotPriced]:
    """Pure: what `order` costs, or why that can't be said; and by which rules."""
    in_force, *newer = _versions(order, facts.rules, facts.earlier)
    found = _quote(order, facts, in_force)
    if newer and isinstance(found, NotPriced) and not found.final and found.reason in RULES_MEND:
        mended = _quote(order, facts, newer[0])
        if isinstance(mended, Quote):
            return newer[0], mended
    return in_force, found


def _quote(order: Order, facts: Facts, version: Version) -> Quote | NotPriced:
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
    total, shown = found.total, order.total_shown
    detail = {"total": to_text(total, order.currency)}
    if shown is not None and total != shown:
        detail["shown"] = to_text(shown, order.currency)
        if is_as_sold(order):  # it is sold already: a person must see to it
            return Hold("total_differs", {**detail, **({"code": "less"} if total < shown else {})})
        if total > shown and order.source.policy.total_differs == "reject":
            return Reject("total_differs", detail)
        if total > shown:
            return Hold("total_differs", detail)
    limit = order.source.policy.hold_over.get(order.currency)
    if limit is not None and total > limit and not order.approved:
        over = {"total": detail["total"], "limit": to_text(limit, order.currency)}
        return Hold("amount_over_limit", over)
    return Advance(detail)


#: What VIES said, by order.
Checks = Mapping[int, VatCheck]


class Price(Step[Mapping[int, str] | None, Checks]):
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
        return {o.id: by_order[o.id] for o in asking if _is_reverse_charged(quote(o, facts)[1])}

    def call(self, plan: Mapping[int, str] | None) -> Checks:
        if not plan:
            return {}
        said = self._vat_ids.ask(set(plan.values()))
        return {order_id: said[vat_id] for order_id, vat_id in plan.items()}

    def settle(self, tx: Tx, orders: Sequence[Order], findings: Checks) -> list[Outcome]:
        facts = look_up(tx, orders)
        found = [quote(order, facts) for order in orders]
        outcomes = [
            self._vat_outcome(order, each, findings) or decide(order, each)
            for order, (_, each) in zip(orders, found, strict=True)
        ]
        if findings:
            order_store.write_vat_checks(tx, {i: as_kept(check) for i, check in findings.items()})
        quotes.add(
            tx,
            [
                Priced(order.id, each, version.name, version.number)
                for order, (version, each), outcome in zip(orders, found, outcomes, strict=True)
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
