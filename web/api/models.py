"""What the API sends and takes, field by field; orders are taken as docs/intake.md says.

Amounts are decimal strings in the order's currency, times are RFC 3339 in UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from fastapi import Header, Path, Query
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from pipeline.cards import holds_card_number
from pipeline.intake.schema import MOST_QUANTITY, Price
from pipeline.order import Status

LARGEST = 2**63 - 1
OrderId = Annotated[int, Path(ge=1, le=LARGEST, description="An order's id.")]
Most = Annotated[int, Query(ge=1, le=500, description="At most so many.")]
Next = Annotated[
    str | None,
    Query(alias="cursor", max_length=1000, description="The `next` of an earlier page."),
]


def printable(given: str) -> str:
    if not given.isprintable() or holds_card_number(given):
        raise ValueError("printable characters, and no payment card number")
    return given


Word = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(printable)]
Name = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(printable)]
Place = Annotated[str, Field(min_length=1, max_length=32), AfterValidator(printable)]
#: Units by a line's number, from 1.
Units = Annotated[
    dict[
        Annotated[str, Field(pattern=r"^[1-9]\d{0,5}$")],
        Annotated[int, Field(ge=1, le=MOST_QUANTITY)],
    ],
    Field(max_length=1000),
]


def in_utc(given: datetime) -> datetime:
    try:
        return given.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time within the years 1 to 9999, in UTC") from None


Since = Annotated[
    AwareDatetime | None,
    Query(description="At that moment or later; RFC 3339."),
    AfterValidator(lambda given: given and in_utc(given)),
]
IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key", min_length=1, max_length=255,
        description="Names this request: sent again under the same key it is done once.",
    ),
    AfterValidator(printable),
]  # fmt: skip
IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match", max_length=1000,
        description="Only if the order still has this ETag; else 412.",
    ),
]  # fmt: skip
IfNoneMatch = Annotated[
    str | None,
    Header(alias="If-None-Match", max_length=1000, description="304 if it still has this ETag."),
]


class Out(BaseModel):
    model_config = ConfigDict(frozen=True)


class In(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


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
    order_id: int | None = None


# --- Orders ---------------------------------------------------------------------------------------


class Accepted(Out):
    """The order is durable. `status` as it was when accepted; it moves on by itself."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"id": 1, "external_id": "web-1001", "verdict": "accepted",
                        "status": "received"}
        }
    )  # fmt: skip
    id: int
    external_id: str
    verdict: Literal["accepted", "duplicate"]
    status: Status


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
    status: Status
    reason: str | None
    stage: str | None
    currency: str
    total: str | None
    version: int
    accepted_at: datetime
    updated_at: datetime
    settled_at: datetime | None
    fulfilment_status: Literal["unfulfilled", "partial", "fulfilled"]


class Order(OrderRow):
    """`version` counts its changes; the ETag is made of it."""

    payment_status: str
    net: str | None
    tax: str | None
    shipping: str | None
    lines: list[Line]
    customer: dict[str, Any]
    ship_to: dict[str, Any]
    bill_to: dict[str, Any] | None = None
    coupons: list[str] = []
    shipping_method: str | None = None
    metadata: dict[str, str] = {}


class Event(Out):
    """An entry in an order's timeline; `seq` counts them from 1 without a gap."""

    seq: int
    at: datetime
    kind: str
    from_status: Status | None
    to_status: Status | None
    stage: str | None
    reason: str | None
    actor: str
    detail: dict[str, Any] | None


class FeedEvent(Event):
    order_id: int
    source: str
    external_id: str


class Feed(Out):
    """`next` is where to go on, now (`more`) or after a while: it is never null."""

    items: list[FeedEvent]
    next: str
    more: bool


class RefundIn(In):
    """An `amount`; or units of `lines`, by number from 1, and `shipping`; or (empty) all that is
    left."""

    amount: Price | None = None
    lines: Units = {}
    shipping: bool = False
    reason: Name | None = None


class Refund(Out):
    """It is asked for; the order's timeline tells how it ends."""

    id: str
    order_id: int
    amount: str
    currency: str
    state: str


class Capture(Refund):
    """As a refund."""


def _tracking(given: str) -> str:
    """It may look like a card's number: one in ten of its form does."""
    if not given.isprintable():
        raise ValueError("printable characters")
    return given


class FulfilmentIn(In):
    """What leaves: units of `lines` by number from 1, or all that is left to ship; from `location`,
    or wherever they are reserved. `capture` asks for the money that is due, if nobody has yet."""

    lines: Annotated[Units, Field(min_length=1)] | None = None
    location: Place | None = None
    carrier: Name | None = None
    tracking: (
        Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_tracking)] | None
    ) = None
    reference: Name | None = Field(
        None, validate_default=True,
        description="Names the shipment within its order, for ever; without it `tracking` does.",
    )  # fmt: skip
    capture: bool = False

    @field_validator("reference")
    @classmethod
    def _is_named(cls, given: str | None, others: ValidationInfo) -> str | None:
        if given is None and others.data.get("tracking", "") is None:
            raise ValueError("a reference, or a tracking number")
        return given

    @property
    def name(self) -> str:
        return self.reference or self.tracking or ""


class ShippedLine(Out):
    line: int
    sku: str
    units: int
    location: str


class Fulfilment(Out):
    """Units of an order that left together."""

    reference: str
    carrier: str | None
    tracking: str | None
    lines: list[ShippedLine]
    actor: str
    at: datetime


class Fulfilled(Fulfilment):
    """`capture` is what was asked for with it: null if nothing was, or if this shipment was made
    before."""

    capture: Capture | None = None


class ReturnIn(In):
    """What came back: units of `lines` by number from 1. With `restock` they are put into stock at
    that location; null: into none. `refund` asks for what was paid for them."""

    reference: Annotated[Name, Field(description="Names the return within its order, for ever.")]
    lines: Annotated[Units, Field(min_length=1)]
    restock: Place | None
    reason: Name | None = None
    refund: bool = False


class ReturnedLine(Out):
    line: int
    sku: str
    units: int


class Return(Out):
    """Units of an order that came back together; `restock` is where they were put into stock."""

    reference: str
    restock: str | None
    reason: str | None
    lines: list[ReturnedLine]
    actor: str
    at: datetime


class Returned(Return):
    """`refund` is what was asked for with it: null if nothing was, or if this came back before."""

    refund: Refund | None = None


class Quote(Out):
    """What the order would cost now; `holds` says why it would wait for a person, or null."""

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
    explanation: list[dict[str, str | None]]
