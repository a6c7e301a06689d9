"""Importing stock: each line of a file is a movement, and is posted once however often it is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from pipeline.errors import OrdermillError
from pipeline.intake.files.batches import batches
from pipeline.intake.files.fault import Fault
from pipeline.intake.files.interrupt import uninterrupted
from pipeline.intake.files.lines import TextFile, digest_of
from pipeline.intake.files.records import Record, read_records
from pipeline.intake.files.rejects import reject_file
from pipeline.intake.files.tally import Progress, Tally, reject, sound
from pipeline.intake.schema import Sku, Text
from pipeline.inventory.allocation import Level
from pipeline.storage import catalogue, stock, stock_imports
from pipeline.storage.database import Database
from pipeline.storage.stock import Movement

MOST_UNITS = 1_000_000_000


class StockRow(BaseModel):
    """One line: units that came in (receipt), or a correction up or down (adjustment)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sku: Sku
    location: Annotated[Text, Field(max_length=32)]
    kind: Literal["receipt", "adjustment"] = "receipt"
    quantity: Annotated[int, Field(ge=-MOST_UNITS, le=MOST_UNITS)]
    reason: Text | None = None

    @field_validator("quantity")
    @classmethod
    def _fits_the_kind(cls, quantity: int, info: ValidationInfo) -> int:
        if quantity == 0:
            raise ValueError("some units; none is no movement")
        if quantity < 0 and info.data.get("kind") == "receipt":
            raise ValueError("more than 0 for a receipt; an adjustment takes units away")
        return quantity

    @property
    def level(self) -> Level:
        return self.sku, self.location


#: A line and what it says; the line is a movement's identity within its file.
Good = Sequence[tuple[Record[StockRow], StockRow]]


def import_stock(
    database: Database,
    path: Path,
    actor: str,
    rejects: Path | None = None,
    progress: Callable[[Progress[Tally]], None] = lambda _: None,
) -> Tally:
    """Post the movements in a file: CSV (sku, location, quantity[, kind, reason]) or JSON lines.

    The same content again is skipped line by line, so an import that broke off is resumed, and
    what was rejected (an unknown SKU) is posted once its cause is gone. A delivery that repeats
    an earlier one to the letter must say so, by its `reason`. Errors are those of `import_orders`.
    """
    tally = Tally()
    digest = digest_of(path)
    with closing(TextFile(path)) as file, reject_file(rejects, path, "sku") as refuse:
        for batch in batches(read_records(file, path, StockRow)):
            with uninterrupted():
                good = sound(batch, tally, refuse)
                posted, refused = _post(database, digest, good, actor)
                for record in refused:
                    reject(record, tally, refuse)
                tally.accepted += posted
                tally.skipped += len(good) - posted - len(refused)
            progress(Progress(file.done, file.total, tally))
    return tally


def _post(
    database: Database, digest: str, good: Good, actor: str
) -> tuple[int, list[Record[StockRow]]]:
    """How many lines were posted, and those that can't be, with their faults."""
    good, refused = _known(database, good)
    while True:
        try:
            return _post_new(database, digest, good, actor), refused
        except _Refused as error:
            refused += [_short(record) for record, _ in good if record.line in error.lines]
            good = [each for each in good if each[0].line not in error.lines]


class _Refused(OrdermillError):
    """Some new lines that take away would leave fewer units than are promised; the transaction is rolled back."""

    def __init__(self, lines: set[int]) -> None:
        super().__init__(f"{len(lines)} lines would leave fewer units than are promised")
        self.lines = lines


def _post_new(database: Database, digest: str, good: Good, actor: str) -> int:
    """Post the lines that were not posted before, all or (raising _Refused) none."""
    with database.transaction() as tx:
        new = stock_imports.claim(tx, digest, [record.line for record, _ in good])
        fresh = [(record.line, row) for record, row in good if record.line in new]
        refusing = stock.post(tx, [_movement(row) for _, row in fresh], actor)
        if refusing:
            raise _Refused({n for n, row in fresh if row.level in refusing and row.quantity < 0})
    return len(fresh)


def _movement(row: StockRow) -> Movement:
    return Movement(row.sku, row.location, row.kind, row.quantity, row.reason)


def _known(database: Database, good: Good) -> tuple[Good, list[Record[StockRow]]]:
    """Lines of products that exist, and the others with their fault."""
    with database.snapshot() as tx:
        known = catalogue.products_by_sku(tx, {row.sku for _, row in good})
    unknown = [_unknown(record, row) for record, row in good if row.sku not in known]
    return [each for each in good if each[1].sku in known], unknown


def _unknown(record: Record[StockRow], row: StockRow) -> Record[StockRow]:
    fault = Fault(record.line, "sku", row.sku, "a product that exists", "unknown sku")
    return replace(record, faults=[fault])


def _short(record: Record[StockRow]) -> Record[StockRow]:
    reason = "no fewer units than are promised to orders"
    quantity = str(record.value.quantity) if record.value else ""
    return replace(record, faults=[Fault(record.line, "quantity", quantity, reason, "promised")])
