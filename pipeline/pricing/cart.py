"""What is to be priced: an order with the facts that were looked up for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipeline.pricing.address import Destination


@dataclass(frozen=True, slots=True)
class CartLine:
    """Units of one SKU at one unit price (minor units). `origin` says where the price is from:
    `as_sold`, `catalogue`, or `group NAME`, with ` from N` for a quantity break. `weight` of one
    unit in grams."""

    sku: str
    quantity: int
    unit_price: int
    origin: str = "catalogue"
    categories: frozenset[str] = frozenset()
    tax_class: str = "standard"
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Cart:
    """`at` (aware) is when the order was placed, or else accepted. `as_sold`: prices are agreed, no
    promotions. `tax_zone`: a person said that it goes there. `shown` is the total that the order
    states; with `as_shown` it is charged, though the order would cost more. `coupons` as given;
    `first_order`: the customer has no earlier order that stands. `step`: so many
    minor units make the least amount that can be charged."""

    currency: str
    at: datetime
    source: str
    lines: tuple[CartLine, ...]
    country: str
    region: str | None = None
    postal_code: str | None = None
    customer_group: str | None = None
    vat_id: str | None = None
    first_order: bool = False
    coupons: tuple[str, ...] = ()
    shipping_method: str | None = None
    as_sold: bool = False
    shown: int | None = None
    as_shown: bool = False
    tax_zone: str | None = None
    step: int = 1

    @property
    def destination(self) -> Destination:
        return Destination(self.country, self.region, self.postal_code)
