"""What the API answers, field by field. What a newer server adds is ignored.

Amounts are decimal strings in the order's currency, times are RFC 3339 in UTC.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field


class Status(StrEnum):
    """Where an order is. Why it is there is the order's `reason`."""

    RECEIVED = "received"
    VALIDATED = "validated"
    PRICED = "priced"
    PAID = "paid"
    RESERVED = "reserved"
    CONFIRMED = "confirmed"
    BACKORDERED = "backordered"
    ON_HOLD = "on_hold"
    CANCELLING = "cancelling"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


#: Nothing moves an order on from these by itself; `on_hold` waits for a person.
SETTLED = frozenset({Status.CONFIRMED, Status.REJECTED, Status.CANCELLED, Status.ON_HOLD})

#: A status that this version doesn't know stays the word that the server of tomorrow said.
AnyStatus = Annotated[Status | str, Field(union_mode="left_to_right")]


class Out(BaseModel):
    model_config = ConfigDict(frozen=True)


T = TypeVar("T", bound=Out)


class Page(Out, Generic[T]):
    """`next` is the cursor of the next page; null: this is the last."""

    items: list[T]
    next: str | None = None


class FieldError(Out):
    """A field's path, the value that was sent (cut short), what was expected."""

    field: str
    value: str
    expected: str


class Problem(Out):
    """RFC 9457. `type` is to be compared, not opened; docs/api.md lists them."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] | None = None
    more_errors: int | None = None  # How many others are wrong.
    order_id: int | None = None


class Accepted(Out):
    """The order is durable. `status` as it was when accepted; it moves on by itself."""

    id: int
    external_id: str
    verdict: str  # accepted, duplicate
    status: AnyStatus


class Verdict(Out):
    """What became of a line of a batch: `accepted`, `duplicate`, `conflict` (these have the order's
    `id`) or `rejected`. Lines are counted from 1, blank ones too."""

    line: int
    external_id: str | None
    verdict: str
    id: int | None = None
    errors: list[FieldError] = []


class Line(Out):
    """A line as priced, those that share a SKU merged; amounts are null before it is priced."""

    sku: str
    quantity: int
    unit_price: str | None = None
    discount: str | None = None
    tax_rate: str | None = None
    net: str | None = None
    tax: str | None = None
    gross: str | None = None


class OrderRow(Out):
    id: int
    source: str
    external_id: str
    status: AnyStatus
    reason: str | None
    stage: str | None
    currency: str
    total: str | None
    version: int
    accepted_at: datetime
    updated_at: datetime
    settled_at: datetime | None
    fulfilment_status: str  # unfulfilled, partial, fulfilled


class VatCheck(Out):
    """What VIES said of the order's VAT id: `valid` is null if it gave no answer to be trusted, `said`
    its word, or ours for why. `consultation_number` proves that it was asked. Of an order that was
    erased neither id nor number is left."""

    vat_id: str | None
    valid: bool | None
    said: str
    asked_at: datetime
    requested_at: datetime | None
    consultation_number: str | None
    requester: str | None


class Order(OrderRow):
    """`version` counts its changes; the ETag is made of it. `ship_to` is where it goes: as sent, with
    what a person corrected. `decided` is what a person decided about it on hold, by kind;
    `decisions` the kinds that answer why it is on hold now."""

    payment_status: str
    net: str | None = None
    tax: str | None = None
    shipping: str | None
    lines: list[Line]
    customer: dict[str, Any]
    ship_to: dict[str, Any]
    bill_to: dict[str, Any] | None = None
    coupons: list[str] = []
    shipping_method: str | None = None
    total_shown: str | None = None  # The `total` that the order states.
    placed_at: datetime | None = None  # When it says that it was placed.
    metadata: dict[str, str] = {}
    decided: dict[str, Any] = {}
    decisions: list[str] = []
    vat_check: VatCheck | None = None


class Decided(Out):
    """How many orders were decided about, and are back at work."""

    decided: int


class Held(Out):
    """Units of a line that are promised to the order."""

    line_no: int
    sku: str
    location: str
    units: int


class Awaited(Out):
    """Units that an order waits for, since when it waits, and how many orders accepted earlier wait for
    the same SKU."""

    sku: str
    units: int
    since: datetime
    before: int


class OrderStock(Out):
    """What an order holds that is not shipped yet, and what it waits for."""

    holds: list[Held]
    waits_for: list[Awaited]


class Event(Out):
    """An entry in an order's timeline; `seq` counts them from 1 without a gap."""

    seq: int
    at: datetime
    kind: str
    from_status: AnyStatus | None
    to_status: AnyStatus | None
    stage: str | None
    reason: str | None
    actor: str
    detail: dict[str, Any] | None


class FeedEvent(Event):
    order_id: int
    source: str
    external_id: str


class Feed(Out):
    """`next` is where to go on, now (`more`) or after a while: it is never null. `held_back` are whole
    seconds for which a transaction that is still open has held back the newest events: 0 as a rule."""

    items: list[FeedEvent]
    next: str
    more: bool
    held_back: int = 0


class Capture(Out):
    """It is asked for; the order's timeline tells how it ends."""

    id: str
    order_id: int
    amount: str
    currency: str
    state: str


class Refund(Capture):
    """As a capture. Its net and its tax come to its amount; those of refunds that come to all of an
    order, to the order's."""

    net: str | None
    tax: str | None


class Quote(Out):
    """What the order would cost; `holds` says why it would wait for a person, or be rejected, or null."""

    currency: str
    net: str
    tax: str
    total: str
    includes_tax: bool
    lines: list[Line]
    shipping: str | None
    shipping_method: str | None
    coupons: list[str]
    rules: str
    rules_version: int | None
    holds: str | None
    explanation: list[dict[str, str | None]]  # The first 1,000 rows of how it came about.
    explanation_is_cut: bool = False  # Whether there are more rows.


class ListPrice(Out):
    currency: str
    price: str
    customer_group: str | None = None
    from_quantity: int = 1
    valid_from: datetime | None = None
    valid_until: datetime | None = None


class Product(Out):
    sku: str
    name: str
    active: bool
    backorder: bool
    categories: list[str]
    tax_class: str
    weight: int
    prices: list[ListPrice]


class Level(Out):
    """Units of a SKU at a location."""

    sku: str
    name: str
    location: str
    on_hand: int
    reserved: int
    safety: int
    available: int


class Levels(Out):
    """The SKU's levels after it; `difference` is what a count was off by."""

    difference: int | None = None
    levels: list[Level]
