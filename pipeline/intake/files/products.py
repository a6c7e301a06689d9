"""Importing products and their prices: several lines for a SKU give it several currencies."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from pipeline.errors import InvalidInput
from pipeline.intake.files.batches import batches
from pipeline.intake.files.interrupt import uninterrupted
from pipeline.intake.files.lines import TextFile
from pipeline.intake.files.records import read_records
from pipeline.intake.files.rejects import reject_file
from pipeline.intake.files.tally import Progress, Tally, sound
from pipeline.intake.schema import CurrencyCode, Price, Sku, Text
from pipeline.money import to_minor
from pipeline.storage import catalogue
from pipeline.storage.catalogue import ProductIn
from pipeline.storage.database import Database


class ProductRow(BaseModel):
    """One line: a product, and its price in one currency; no price leaves those it has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sku: Sku
    name: Text
    active: bool = True
    backorder: bool = False
    currency: CurrencyCode | None = None
    price: Annotated[Price | None, Field(validate_default=True)] = None

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

    def prices(self) -> dict[str, int]:
        """Minor units by currency."""
        if self.currency is None or self.price is None:
            return {}
        return {self.currency: to_minor(self.price, self.currency)}


def import_products(
    database: Database,
    path: Path,
    rejects: Path | None = None,
    progress: Callable[[Progress[Tally]], None] = lambda _: None,
) -> Tally:
    """Make or replace the products in a file: CSV (sku, name, active, backorder, currency, price)
    or JSON lines with the same fields. Again is the same; errors are those of `import_orders`."""
    tally = Tally()
    with closing(TextFile(path)) as file, reject_file(rejects, path, "sku") as refuse:
        for batch in batches(read_records(file, path, ProductRow)):
            with uninterrupted():
                good = sound(batch, tally, refuse)
                with database.transaction() as tx:
                    catalogue.put(tx, [_product(row) for _, row in good])
                tally.accepted += len(good)
            progress(Progress(file.done, file.total, tally))
    return tally


def _product(row: ProductRow) -> ProductIn:
    return ProductIn(row.sku, row.name, row.active, row.backorder, row.prices())
