"""The quote: what an order costs, on which line, and by which steps. Amounts in minor units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class QuotedLine:
    """A line as quoted, in the cart's order. unit_price × quantity − discount is its amount: the
    gross if prices include tax, else the net (an exempt customer's net has the tax taken off).
    net + tax = gross. `tax_rate` is a fraction as text: "0.19"."""

    sku: str
    quantity: int
    unit_price: int
    discount: int
    tax_rate: str
    net: int
    tax: int
    gross: int


@dataclass(frozen=True, slots=True)
class QuotedShipping:
    """`price` − `discount` is its amount, as for a line."""

    method: str
    price: int
    discount: int
    net: int
    tax: int
    gross: int


@dataclass(frozen=True, slots=True)
class Quote:
    """net + tax = total, each the sum over lines and shipping.

    `coupons` are the codes that were used. `steps` explain, in the order of calculation; each is
    JSON with a `step`:
        payable    multiple_of: the minor units that all amounts are multiples of, if not one
        price      line, sku, quantity, unit_price, origin
        promotion  id, name, target, coupon (or null), shares: {"1": amount, …} by line number, or
                   {"shipping": amount}
        shipping   method, name, price
        tax        line (or "shipping"), class, zone, rates: [{name, rate}], base, tax; base is the
                   amount, with its tax if it includes it; shipping that is taxed in proportion to
                   the goods has one for each rate, of the class "proportional"
        shown      shown: the total that the order states, which isn't `total`, what it would cost;
                   shares: what was taken off so that it costs what was shown
        exempt     why: customer_group, reverse_charge or export; taken_off: the tax that prices
                   included, as `shares`
        untaxed    why, category, code, places: lines by number and "shipping" that bear no tax, and
                   the reason by the codes of EN 16931 (pipeline.pricing.untaxed)
    Lines are numbered from 1 as in the cart.
    """

    lines: tuple[QuotedLine, ...]
    shipping: QuotedShipping | None
    net: int
    tax: int
    total: int
    includes_tax: bool
    rounding_mode: str
    rounding_level: str
    coupons: tuple[str, ...] = ()
    steps: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class NotPriced:
    """There is no quote. `final`: there never will be one (reject); else a person must see to it."""

    reason: str
    detail: Mapping[str, Any]
    final: bool = True
