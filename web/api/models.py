"""What the API takes, field by field; orders are taken as docs/intake.md says. What it answers is in
`shapes`, which clients have too."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

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
from pipeline.decisions import DecisionIn
from pipeline.intake.schema import MOST_QUANTITY, Price

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


def legible(given: str) -> str:
    """Of ids, references and tracking numbers, which look like a card's number too often."""
    if not given.isprintable():
        raise ValueError("printable characters")
    return given


Word = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(printable)]
Key = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(legible)]
Reference = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(legible)]
Name = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(printable)]
Place = Annotated[str, Field(min_length=1, max_length=32), AfterValidator(printable)]
#: Units by a line's number, from 1.
Units = Annotated[
    dict[
        Annotated[str, Field(pattern=r"^[1-9][0-9]{0,5}$")],
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
    AfterValidator(legible),
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


class In(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class RefundIn(In):
    """An `amount`; or units of `lines`, by number from 1, and `shipping`; or (empty) all that is
    left."""

    amount: Price | None = None
    lines: Units = {}
    shipping: bool = False
    reason: Name | None = None


class DecisionsIn(In):
    """One decision about several orders on hold."""

    orders: Annotated[
        list[Annotated[int, Field(ge=1, le=LARGEST)]], Field(min_length=1, max_length=500)
    ]
    decision: DecisionIn


class FulfilmentIn(In):
    """What leaves: units of `lines` by number from 1, or all that is left to ship; from `location`,
    or wherever they are reserved. `capture` asks for the money that is due, if nobody has yet."""

    lines: Annotated[Units, Field(min_length=1)] | None = None
    location: Place | None = None
    carrier: Name | None = None
    tracking: Reference | None = None
    reference: Reference | None = Field(
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


class ReturnIn(In):
    """What came back: units of `lines` by number from 1. With `restock` they are put into stock at
    that location; null: into none. `refund` asks for what was paid for them."""

    reference: Annotated[
        Reference, Field(description="Names the return within its order, for ever.")
    ]
    lines: Annotated[Units, Field(min_length=1)]
    restock: Place | None
    reason: Name | None = None
    refund: bool = False
