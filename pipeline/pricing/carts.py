"""Making a cart: an order and the facts that were looked up for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pipeline.order import Line, Order
from pipeline.payments import amounts
from pipeline.pricing.cart import Cart, CartLine
from pipeline.pricing.prices import PriceBook, choose
from pipeline.pricing.quote import NotPriced


@dataclass(frozen=True, slots=True)
class Goods:
    """What pricing wants to know of a product; `weight` of one unit in grams."""

    categories: frozenset[str] = frozenset()
    tax_class: str = "standard"
    weight: int = 0


def is_as_sold(order: Order) -> bool:
    """Whether the order's own prices count, where it states them."""
    return order.source.policy.price_policy == "as_sold"


def cart_of(
    order: Order, goods: Mapping[str, Goods], prices: PriceBook, *, first_order: bool
) -> Cart | NotPriced:
    """Pure: what `order` is priced as; its lines are the order's, in their order."""
    customer, address = order.document["customer"], order.ship_to
    group, as_sold, moment = customer.get("group"), is_as_sold(order), order.moment
    lines = []
    for line in order.lines:
        found = goods.get(line.sku)
        if found is None:
            return NotPriced("unknown_sku", {"skus": [line.sku]})
        if line.unit_price is not None and not as_sold:
            # Agreed while its source sold at such prices; nobody has agreed to the catalogue's.
            return NotPriced("price_not_agreed", {"sku": line.sku}, final=False)
        priced = _priced(order, line, prices, group, moment)
        if priced is None:
            return NotPriced("no_price", {"sku": line.sku, "currency": order.currency})
        lines.append(
            CartLine(
                line.sku, line.quantity, *priced, found.categories, found.tax_class, found.weight
            )
        )
    return Cart(
        currency=order.currency,
        at=moment,
        source=order.source.name,
        lines=tuple(lines),
        country=order.country,
        region=address.get("region"),
        postal_code=address.get("postal_code"),
        customer_group=group,
        vat_id=None if order.decided.get("vat") == "tax" else customer.get("vat_id"),
        first_order=first_order,
        coupons=tuple(order.coupons),
        shipping_method=order.document.get("shipping_method"),
        as_sold=as_sold,
        tax_zone=order.decided.get("tax_zone"),
        shown=order.total_shown,
        as_shown=order.decided.get("charge") == "shown",
        step=amounts.step(order.source.policy.gateway, order.currency),
    )


def _priced(
    order: Order, line: Line, prices: PriceBook, group: str | None, moment: datetime
) -> tuple[int, str] | None:
    """What a unit of the line costs, and where that is from."""
    if line.unit_price is not None:
        return line.unit_price, "as_sold"
    listed = prices.on_record((line.sku, order.currency), moment)
    chosen = choose(listed, line.quantity, group, moment)
    return None if chosen is None else (chosen.amount, chosen.origin)
