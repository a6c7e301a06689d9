"""What the API sends and takes of the shop: catalogue, stock, queues and jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from pipeline.intake.schema import CurrencyCode, Price, Sku, Text
from pipeline.storage.job_runs import State as RunState
from pipeline.storage.stock_ledger import Kind
from web.api.models import In, Out, printable

# --- Catalogue and stock --------------------------------------------------------------------------


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


class Level(Out):
    """Units of a SKU at a location."""

    sku: str
    name: str
    location: str
    on_hand: int
    reserved: int
    safety: int
    available: int


class Movement(Out):
    """A line of the ledger: by how much it changed what is on hand (`quantity`) and what of that is
    `promised` to orders, and what each was after it at that location."""

    at: datetime
    location: str
    kind: Kind
    quantity: int
    balance: int
    promised: int
    promised_balance: int
    actor: str
    reason: str | None
    reference: str | None


class Ledger(Out):
    """The newest movements, the newest first."""

    items: list[Movement]


Location = Annotated[str, Field(min_length=1, max_length=32), AfterValidator(printable)]


class AdjustmentIn(In):
    sku: Sku
    location: Location = "main"
    units: Annotated[int, Field(description="So many more or, negative, fewer.")]
    reason: Annotated[str, Field(min_length=1, max_length=255), AfterValidator(printable)]


class CountIn(In):
    """`at`: when they were counted (RFC 3339); now without it."""

    sku: Sku
    location: Location = "main"
    units: int
    at: Annotated[str, Field(max_length=40)] | None = None
    reason: Annotated[str, Field(min_length=1, max_length=255), AfterValidator(printable)] | None = None  # fmt: skip


class Levels(Out):
    """The SKU's levels after it; `difference` is what a count was off by."""

    difference: int | None = None
    levels: list[Level]


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
