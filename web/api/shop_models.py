"""What the API sends and takes of the shop: catalogue, stock, queues and jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from pipeline.intake.schema import CurrencyCode, Price, Sku, Text
from pipeline.storage.job_runs import State as RunState
from web.api.models import In, Place, printable
from web.api.shapes import Out

# --- Catalogue and stock --------------------------------------------------------------------------


class PriceIn(In):
    """For a `customer_group`, from a quantity on, or within a time (RFC 3339), where it says so."""

    currency: CurrencyCode
    price: Price
    customer_group: str | None = None
    from_quantity: int | None = None
    valid_from: str | None = None
    valid_until: str | None = None


class ProductIn(In):
    """Each of the `prices` replaces the one of the same currency, group,
    quantity and beginning. What is left out stays as it is."""

    name: Text
    active: bool = True
    backorder: bool = False
    categories: Annotated[list[str], Field(max_length=100)] | None = None
    tax_class: str | None = None
    weight: int | None = None
    prices: list[PriceIn] = Field(default_factory=list, max_length=500)


class AdjustmentIn(In):
    sku: Sku
    location: Place = "main"
    units: Annotated[int, Field(description="So many more or, negative, fewer.")]
    reason: Annotated[str, Field(min_length=1, max_length=255), AfterValidator(printable)]


class CountIn(In):
    """`at`: when they were counted (RFC 3339); now without it."""

    sku: Sku
    location: Place = "main"
    units: int
    at: Annotated[str, Field(max_length=40)] | None = None
    reason: Annotated[str, Field(min_length=1, max_length=255), AfterValidator(printable)] | None = None  # fmt: skip


# --- Operating ------------------------------------------------------------------------------------


class Queue(Out):
    """Orders in it, due now, in hand; what the last hour brought; who paused it, or null."""

    queue: str
    orders: int
    due: int
    running: int
    oldest: datetime | None
    advanced: int
    retried: int
    held: int
    rejected: int
    paused: str | None


class JobOut(Out):
    job: str
    schedule: str
    next: datetime
    does: str
    last: datetime | None
    state: RunState | None


class Run(Out):
    run: int
    job: str
    due: datetime
    state: RunState
    attempt: int
    asked_by: str | None
    by: str | None
    started: datetime | None
    seconds: float | None
    result: Any
    error: str | None


class Ready(Out):
    status: Literal["ready"]
