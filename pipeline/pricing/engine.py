"""What an order costs. docs/pricing.md says how it is calculated; each module here is a part of it.

unit price → line promotions → order promotions → shipping → shipping promotions → tax → total →
what was shown
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.money import MOST_AMOUNT, to_text
from pipeline.pricing import budget
from pipeline.pricing.basket import Basket
from pipeline.pricing.candidates import NONE
from pipeline.pricing.cart import Cart
from pipeline.pricing.coupons import used_codes
from pipeline.pricing.promotions import apply
from pipeline.pricing.quote import NotPriced, Quote, QuotedLine, QuotedShipping
from pipeline.pricing.ruleset import RuleSet
from pipeline.pricing.shipping import Shipment, ship
from pipeline.pricing.spread import largest_remainder
from pipeline.pricing.steps import in_minor_units, in_steps
from pipeline.pricing.tax import Assessment


def price(cart: Cart, rules: RuleSet) -> Quote | NotPriced:
    """The quote of `cart` by `rules`, or why there is none. The same goods cost the same in whatever
    order the lines come."""
    found = _priced(cart, rules) if cart.step == 1 else _priced_in_steps(cart, rules)
    if cart.as_sold and isinstance(found, NotPriced):
        return replace(found, final=False)  # it is sold already: a person must see to it
    return found


def _priced_in_steps(cart: Cart, rules: RuleSet) -> Quote | NotPriced:
    counted = in_steps(cart, rules.divide)
    found = counted if isinstance(counted, NotPriced) else _priced(counted, rules)
    return found if isinstance(found, NotPriced) else in_minor_units(found, cart.step)


def _priced(cart: Cart, rules: RuleSet) -> Quote | NotPriced:
    budget.spend()
    basket = Basket.of(cart)
    if basket.value > MOST_AMOUNT // cart.step:
        return _too_dear(cart, basket.value)
    coupons = rules.coupons.admit(cart.coupons, basket.at)
    if isinstance(coupons, NotPriced):
        return coupons
    shipment = _discount_and_ship(basket, rules, [coupon.code for coupon in coupons])
    if isinstance(shipment, NotPriced):
        return shipment
    used = used_codes(coupons, basket)
    if isinstance(used, NotPriced):
        return used
    tax_class, before_tax = shipment.tax_class if shipment else None, len(basket.steps)
    assessment = rules.taxes.assess(basket, tax_class)
    if isinstance(assessment, NotPriced):
        return assessment
    if cart.shown is not None:
        left = _as_shown(basket, cart.shown, assessment, tax_class, before_tax, rules)
        if isinstance(left, NotPriced):
            return left
        assessment = left
    quote = _total(basket, shipment, assessment, used, rules)
    return quote if quote.total <= MOST_AMOUNT // cart.step else _too_dear(cart, quote.total)


def _too_dear(cart: Cart, amount: int) -> NotPriced:
    most = to_text(MOST_AMOUNT, cart.currency)
    told = to_text(amount * cart.step, cart.currency)
    return NotPriced("amount_too_large", {"amount": told, "most": most})


def _as_shown(
    basket: Basket,
    shown: int,
    assessment: Assessment,
    tax_class: str | None,
    before_tax: int,
    rules: RuleSet,
) -> Assessment | NotPriced:
    """The tax once the total was compared with the one that was `shown`: where that is charged,
    what exceeds it is taken off. The step that says so goes before those of tax, which begin at
    `before_tax`."""
    nets, taxes = _split(basket.amounts, assessment, rules.includes_tax)
    grosses = [net + tax for net, tax in zip(nets, taxes, strict=True)]
    total, amounts = sum(grosses), list(basket.amounts)
    if total == shown or (total > shown and not basket.cart.as_shown):
        return assessment
    found: Assessment | NotPriced = assessment
    if total > shown:
        steps_of_tax = basket.steps[before_tax:]
        del basket.steps[before_tax:]
        shares = largest_remainder(total - shown, grosses)
        if rules.includes_tax or not any(taxes):
            basket.take_off(dict(enumerate(shares)))
            found = rules.taxes.reassess(basket, tax_class, assessment, steps_of_tax)
        else:
            left = [gross - share for gross, share in zip(grosses, shares, strict=True)]
            found = rules.taxes.contained(basket, tax_class, left)
    taken_off = {
        n: was - now for n, (was, now) in enumerate(zip(amounts, basket.amounts, strict=True))
    }
    step = {"step": "shown", "shown": shown, "total": total, "shares": basket.labelled(taken_off)}
    basket.steps.insert(before_tax, step)
    return found


def _discount_and_ship(
    basket: Basket, rules: RuleSet, codes: Sequence[str]
) -> Shipment | NotPriced | None:
    """Promotions and shipping; None: nothing is shipped, or its price is in that of the goods."""
    cart, offers = basket.cart, rules.offers(basket.cart.currency, basket.cart.step)
    found = NONE if cart.as_sold else offers.promotions.candidates(basket, codes)
    apply(found.lines, basket, codes)
    apply(found.order, basket, codes)
    method = cart.shipping_method or (None if cart.as_sold else rules.default_shipping)
    if method is None:
        return None
    shipment = ship(basket, offers.methods, method)
    if isinstance(shipment, Shipment):
        apply(found.shipping, basket, codes)
    return shipment


def _total(
    basket: Basket,
    shipment: Shipment | None,
    assessment: Assessment,
    used: tuple[str, ...],
    rules: RuleSet,
) -> Quote:
    nets, taxes = _split(basket.amounts, assessment, rules.includes_tax)
    shipping = None
    if shipment is not None:
        discount, net, tax = shipment.price - basket.amounts[-1], nets[-1], taxes[-1]
        shipping = QuotedShipping(shipment.id, shipment.price, discount, net, tax, net + tax)
    net, tax = sum(nets), sum(taxes)
    return Quote(
        tuple([_line(basket, place, assessment.rates, nets, taxes) for place in basket.places]),
        shipping,
        net,
        tax,
        net + tax,
        rules.includes_tax,
        rules.rounding_mode,
        rules.rounding_level,
        used,
        tuple(basket.steps),
    )


def _split(
    amounts: Sequence[int], assessment: Assessment, includes_tax: bool
) -> tuple[Sequence[int], Sequence[int]]:
    """What of each amount, lines and shipping, is net, and the tax to be paid on it."""
    taxes = assessment.taxes
    if includes_tax:
        amounts = [amount - tax for amount, tax in zip(amounts, taxes, strict=True)]
    return amounts, [0] * len(taxes) if assessment.exempt else taxes


def _line(
    basket: Basket, place: int, rates: Sequence[str], nets: Sequence[int], taxes: Sequence[int]
) -> QuotedLine:
    line = basket.lines[place]
    discount = line.unit_price * line.quantity - basket.amounts[place]
    net, tax = nets[place], taxes[place]
    return QuotedLine(
        line.sku, line.quantity, line.unit_price, discount, rates[place], net, tax, net + tax
    )
