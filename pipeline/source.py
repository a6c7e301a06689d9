"""An upstream system and its policies: which lane and chain, whose prices, which rules, what is held."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from pipeline.inventory.allocation import Strategy

PricePolicy = Literal["catalogue", "as_sold"]
MissingPrice = Literal["refuse", "catalogue"]

#: Days that an order stays as it is once it is over: reconciliation looks back over thirty.
LEAST_DAYS = 35

#: A hundred years: more days than that no clock can subtract everywhere.
MOST_DAYS = 36_500


class Policy(BaseModel):
    """What an operator sets for a source; stored as JSON, every field with a sensible default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lane: Literal["interactive", "bulk"] = "interactive"
    chain: Literal["capture_first", "reserve_first"] = "capture_first"
    gateway: str | None = Field(
        default=None,
        description="where its orders are paid. Named by none: the sandbox in the embedded home, "
        "anywhere else they wait",
    )
    capture: Literal["at_once", "later"] = Field(
        default="at_once", description="later: an operator or fulfilment takes what was authorized"
    )
    payment_expires_after: int = Field(
        default=3600,
        gt=0,
        description="seconds that a customer has to do his part of a payment (3-D Secure, a transfer)",
    )
    price_policy: PricePolicy = Field(
        default="catalogue", description="catalogue: our prices; as_sold: those the order states"
    )
    total_differs: Literal["hold", "reject"] = Field(
        default="hold",
        description="what becomes of an order that would cost more than the total it states, at our "
        "prices; one that is as_sold is always held",
    )
    placed_within: int | None = Field(
        default=30,
        gt=0,
        le=36_500,
        description="days that an order's placed_at may lie back; null: any number. An as_sold "
        "order's may lie back as far as it likes",
    )
    missing_price: MissingPrice = Field(
        default="refuse",
        description="a line of an as_sold order without a unit_price: refuse the order, or let the "
        "catalogue's price stand in",
    )
    rules: str = Field(
        default="default",
        min_length=1,
        max_length=64,
        description="the rule set that prices its orders, in its newest version (docs/pricing.md); "
        "without any imported: no tax, no shipping, no promotions",
    )
    allocation: Strategy = Field(
        default="priority",
        description="which location serves an order: priority, nearest to where it goes, or "
        "fewest_shipments where it must be spread; one location that has all of it always does",
    )
    vat_check: Literal["form", "vies"] = Field(
        default="form",
        description="form: a VAT id that is well-formed is believed; vies: the VIES service is asked "
        "before an order does without tax for it",
    )
    vat_unknown: Literal["hold", "form"] = Field(
        default="hold",
        description="where VIES gives no answer: hold: the order waits for a person; form: its id is "
        "believed by its form",
    )
    backorder: Literal["keep", "release"] = Field(
        default="keep",
        description="an order that waits for stock takes what there is of it at once and keeps it, or "
        "takes nothing until all is there; meanwhile nobody accepted later gets a SKU it waits for",
    )
    backorder_days: int | None = Field(
        default=None,
        gt=0,
        le=MOST_DAYS,
        description="days that an order waits for stock at most; null: for ever",
    )
    backorder_ends: Literal["hold", "cancel"] = Field(
        default="hold", description="what becomes of an order that has waited for so long"
    )
    hold_over: dict[str, int] = Field(
        default_factory=dict,
        description="orders whose total exceeds this many minor units, by currency, wait for a person",
    )
    hold_countries: frozenset[str] = Field(
        default=frozenset(), description="orders to these countries wait for a person"
    )
    hold_expires_after: int | None = Field(
        default=None,
        gt=0,
        description="seconds after which an order that is still on hold is cancelled; null: never",
    )
    archive_after: int | None = Field(
        default=None,
        ge=LEAST_DAYS,
        description="days after which an order that is over goes to the archive; null: never",
    )
    erase_after: int | None = Field(
        default=None,
        ge=LEAST_DAYS,
        description="days after which an order that is over forgets who ordered; null: never",
    )
    email: bool = Field(default=True, description="mail the customer when the order is confirmed")


class Source(BaseModel):
    """A source as the engine knows it. `created_at` tells it from one of the same name in another
    database."""

    model_config = ConfigDict(frozen=True)

    id: int
    name: str
    policy: Policy
    created_at: datetime | None = None

    def in_lane(self, lane: Literal["interactive", "bulk"]) -> Self:
        """The same source, whose orders go in another lane."""
        policy = self.policy.model_copy(update={"lane": lane})
        return self.model_copy(update={"policy": policy})
