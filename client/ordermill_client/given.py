"""What callers give: an order, in types that a checker knows. docs/intake.md says what each field
means; the API checks them all, so nothing is checked here."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NotRequired, TypedDict


class NewCustomer(TypedDict, total=False):
    email: str
    name: str
    id: str
    group: str
    vat_id: str


class NewAddress(TypedDict):
    country: str
    postal_code: NotRequired[str]
    city: NotRequired[str]
    region: NotRequired[str]
    street: NotRequired[str]


class NewPayment(TypedDict):
    method: str


class NewLine(TypedDict):
    sku: str
    quantity: int
    unit_price: NotRequired[str | Decimal]


class NewOrder(TypedDict):
    external_id: str
    currency: str
    customer: NewCustomer
    ship_to: NewAddress
    lines: list[NewLine]
    bill_to: NotRequired[NewAddress]
    payment: NotRequired[NewPayment]
    coupons: NotRequired[list[str]]
    shipping_method: NotRequired[str]
    total: NotRequired[str | Decimal]
    placed_at: NotRequired[str | datetime]
    metadata: NotRequired[dict[str, str]]


class NewPrice(TypedDict):
    currency: str
    price: str | Decimal
    customer_group: NotRequired[str]
    from_quantity: NotRequired[int]
    valid_from: NotRequired[str]
    valid_until: NotRequired[str]


#: Annotate an order as NewOrder and a type checker reads along; any mapping will do.
AnyOrder = NewOrder | Mapping[str, Any]
