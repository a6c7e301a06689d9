"""Importing products and their prices: several lines for a SKU give it several prices."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from pipeline.errors import InvalidInput
from pipeline.intake.files.batches import batches
from pipeline.intake.files.cleaning import separated
from pipeline.intake.files.interrupt import uninterrupted
from pipeline.intake.files.lines import TextFile
from pipeline.intake.files.mapping import Cell, CsvMapping
from pipeline.intake.files.records import read_records
from pipeline.intake.files.rejects import reject_file
from pipeline.intake.files.spool import on_disk
from pipeline.intake.files.tally import Progress, Tally, sound
from pipeline.intake.schema import MOST_QUANTITY, CurrencyCode, Price, Sku, Text
from pipeline.money import to_minor
from pipeline.pricing.prices import ListPrice
from pipeline.pricing.rules import no_bare_number
from pipeline.stocktaking import MOST_UNITS
from pipeline.storage import catalogue
from pipeline.storage.catalogue import ALWAYS, ProductIn
from pipeline.storage.database import Database

MOST_GRAMS = 1_000_000_000


def _words(value: Any) -> Any:
    """A CSV cell holds several separated by |."""
    return separated(value) if isinstance(value, str) else value


def _moment(value: datetime) -> datetime:
    """In UTC; a time without a zone is meant so."""
    try:
        moment = (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise ValueError("a time within the years 1 to 9999, in UTC") from None
    if moment <= ALWAYS:
        raise ValueError(f"a time later than {ALWAYS:%Y-%m-%d}; left out, it counts always")
    return moment


Category = Annotated[Text, Field(max_length=64)]
Moment = Annotated[datetime, BeforeValidator(no_bare_number), AfterValidator(_moment)]


class ProductCells(BaseModel):
    """Which column is which field of a product."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    sku: Cell
    name: Cell
    active: Cell | None = None
    backorder: Cell | None = None
    categories: Cell | None = None
    tax_class: Cell | None = None
    weight: Cell | None = None
    reorder_point: Cell | None = None
    currency: Cell | None = None
    price: Cell | None = None
    customer_group: Cell | None = None
    from_quantity: Cell | None = None
    valid_from: Cell | None = None
    valid_until: Cell | None = None


class ProductMapping(CsvMapping):
    """A mapping for products: [csv] as for orders, and [product]; without it the columns bear the
    fields' own names."""

    product: ProductCells | None = None


class ProductRow(BaseModel):
    """One line: a product, and one of its prices; no price leaves those it has. What else is left
    out stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sku: Sku
    name: Text
    active: bool = True
    backorder: bool = False
    categories: Annotated[frozenset[Category] | None, BeforeValidator(_words)] = None
    tax_class: Category | None = None
    weight: Annotated[int, Field(ge=0, le=MOST_GRAMS)] | None = None
    reorder_point: Annotated[int, Field(ge=0, le=MOST_UNITS)] | None = None
    currency: CurrencyCode | None = None
    price: Annotated[Price | None, Field(validate_default=True)] = None
    customer_group: Category | None = None
    from_quantity: Annotated[int, Field(ge=1, le=MOST_QUANTITY)] | None = None
    valid_from: Moment | None = None
    valid_until: Moment | None = None

    @field_validator("price")
    @classmethod
    def _has_a_currency_and_fits_it(cls, price: str | None, info: ValidationInfo) -> str | None:
        if "currency" not in info.data:
            return price  # refused itself
        currency = info.data["currency"]
        if (currency is None) != (price is None):
            raise ValueError("a currency and a price, or neither")
        if currency is not None and price is not None:
            try:
                to_minor(price, currency)
            except InvalidInput as error:
                raise ValueError(str(error)) from None
        return price

    @field_validator("customer_group", "from_quantity", "valid_from", "valid_until")
    @classmethod
    def _has_a_price(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None and info.data.get("price", "refused itself") is None:
            raise ValueError("a price that it is about, or nothing")
        return value

    @field_validator("valid_until")
    @classmethod
    def _ends_what_has_begun(cls, until: datetime | None, info: ValidationInfo) -> datetime | None:
        # Prices are told apart by when they begin: without, it would replace the standing one.
        since = info.data.get("valid_from")
        if until is not None and "valid_from" in info.data and (since is None or until <= since):
            raise ValueError("a time after valid_from, which must be there too")
        return until

    def product(self) -> ProductIn:
        prices = self._prices()
        return ProductIn(
            self.sku, self.name, self.active, self.backorder,
            {currency: price.amount for currency, price in prices if price == ListPrice(price.amount)},
            [each for each in prices if each[1] != ListPrice(each[1].amount)],
            self.categories, self.tax_class, self.weight, self.reorder_point,
        )  # fmt: skip

    def _prices(self) -> list[tuple[str, ListPrice]]:
        if self.currency is None or self.price is None:
            return []
        price = ListPrice(
            to_minor(self.price, self.currency), self.customer_group or "", self.from_quantity or 1,
            self.valid_from, self.valid_until,
        )  # fmt: skip
        return [(self.currency, price)]


def import_products(
    database: Database,
    path: Path,
    rejects: Path | None = None,
    mapping: ProductMapping | None = None,
    progress: Callable[[Progress[Tally]], None] = lambda _: None,
) -> Tally:
    """Make or replace the products in a file: CSV with the fields of `ProductRow`, or with what a
    `mapping` says, or JSON lines. Again is the same; errors are those of `import_orders`."""
    tally = Tally()
    form, cells = (mapping.csv, mapping.product) if mapping else (None, None)
    with (
        on_disk(path) as there,
        closing(TextFile(there, form.encoding if form else "utf-8")) as file,
        reject_file(rejects, there, "sku") as refuse,
    ):
        for batch in batches(read_records(file, there, ProductRow, form, cells)):
            with uninterrupted():
                good = sound(batch, tally, refuse)
                with database.transaction() as tx:
                    catalogue.put(tx, [row.product() for _, row in good])
                tally.accepted += len(good)
            progress(Progress(file.done, file.total, tally))
    return tally
