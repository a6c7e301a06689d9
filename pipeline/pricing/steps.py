"""Pricing in steps of several minor units, where the gateway takes no finer amounts.

Such a step is what the minor unit is elsewhere: the cart is counted in steps, priced as any other,
and its quote counted in minor units again. So whatever is promised, charged and refunded is a
multiple of the step, and sums up as exactly as ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline.money import to_text
from pipeline.pricing.cart import Cart
from pipeline.pricing.quote import NotPriced, Quote
from pipeline.pricing.rounding import Divide

#: What of a quote's steps is an amount, or amounts by where they belong.
_AMOUNTS = frozenset({"unit_price", "price", "base", "tax", "shown", "total"})
_SHARES = frozenset({"shares", "taken_off"})


def in_steps(cart: Cart, divide: Divide) -> Cart | NotPriced:
    """`cart` with its prices in steps. The catalogue's are rounded; one that is agreed must be a
    multiple, as nobody has agreed to another."""
    lines = []
    for line in cart.lines:
        if line.origin == "as_sold" and line.unit_price % cart.step:
            step, price = (to_text(n, cart.currency) for n in (cart.step, line.unit_price))
            detail = {"sku": line.sku, "unit_price": price, "multiple_of": step}
            return NotPriced("price_not_payable", detail, final=False)
        lines.append(replace(line, unit_price=divide(line.unit_price, cart.step)))
    shown = cart.shown and cart.shown // cart.step  # never more than was shown
    return replace(cart, lines=tuple(lines), shown=shown)


def in_minor_units(quote: Quote, step: int) -> Quote:
    """`quote`, which is in steps, in minor units; its explanation begins with the step."""
    shipping = quote.shipping
    explained = [_in_minor_units(each, step) for each in quote.steps]
    return replace(
        quote,
        lines=tuple(
            replace(
                line,
                unit_price=line.unit_price * step,
                discount=line.discount * step,
                net=line.net * step,
                tax=line.tax * step,
                gross=line.gross * step,
            )
            for line in quote.lines
        ),
        shipping=shipping
        and replace(
            shipping,
            price=shipping.price * step,
            discount=shipping.discount * step,
            net=shipping.net * step,
            tax=shipping.tax * step,
            gross=shipping.gross * step,
        ),
        net=quote.net * step,
        tax=quote.tax * step,
        total=quote.total * step,
        steps=({"step": "payable", "multiple_of": step}, *explained),
    )


def _in_minor_units(explained: Mapping[str, Any], step: int) -> dict[str, Any]:
    return {
        name: value * step
        if name in _AMOUNTS
        else {place: share * step for place, share in value.items()}
        if name in _SHARES
        else value
        for name, value in explained.items()
    }
