"""Counts from a file: CSV with the fields' own names or by a mapping, or JSON lines."""

from __future__ import annotations

from collections.abc import Collection, Generator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from pipeline.intake.files.batches import batches
from pipeline.intake.files.fault import Fault
from pipeline.intake.files.keys import KeySet
from pipeline.intake.files.lines import TextFile
from pipeline.intake.files.mapping import Cell, CsvMapping
from pipeline.intake.files.records import Record, read_records
from pipeline.intake.files.rejects import reject_file
from pipeline.intake.files.tally import Tally, reject, sound
from pipeline.intake.schema import Sku, Text
from pipeline.inventory.allocation import Level
from pipeline.pricing.rules import no_bare_number
from pipeline.stocktaking import MOST_UNITS
from pipeline.storage import catalogue
from pipeline.storage.database import Tx


def _utc(value: datetime) -> datetime:
    try:
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise ValueError("a time within the years 1 to 9999, in UTC") from None


class CountRow(BaseModel):
    """One line: so many units were found there, then. A time without a zone is meant in UTC."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sku: Sku
    location: Annotated[Text, Field(max_length=32)] = "main"
    units: Annotated[int, Field(ge=0, le=MOST_UNITS)]
    counted_at: Annotated[datetime, BeforeValidator(no_bare_number), AfterValidator(_utc)]

    @property
    def level(self) -> Level:
        return self.sku, self.location


class CountCells(BaseModel):
    """Which column is which field of a count."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    sku: Cell
    location: Cell = Cell(value="main")
    units: Cell
    counted_at: Cell


class CountMapping(CsvMapping):
    """A mapping for counts: [csv] as for orders, and [count]."""

    count: CountCells


def read_counts(
    tx: Tx,
    path: Path,
    mapping: CountMapping | None,
    rejects: Path | None,
    now: datetime,
    tally: Tally,
) -> Generator[list[CountRow], None, None]:
    """The good counts of a file, up to 500 at a time; `tally` counts all, and what is refused is
    written to `rejects`: a line that is wrong, a SKU that there is not, a time after `now`, a level
    that stands above already. InvalidInput if the file can't be read to its end."""
    encoding = mapping.csv.encoding if mapping else "utf-8"
    with (
        closing(TextFile(path, encoding)) as file,
        reject_file(rejects, path, "sku") as refuse,
        closing(KeySet()) as known,
    ):
        form, cells = (mapping.csv, mapping.count) if mapping else (None, None)
        records = read_records(file, path, CountRow, form, cells)
        for batch in batches(records):
            good = sound(batch, tally, refuse)
            there = catalogue.products_by_sku(tx, {row.sku for _, row in good})
            kept = []
            for record, row in good:
                if fault := _fault(record, row, there, known, now):
                    reject(replace(record, faults=[fault]), tally, refuse)
                else:
                    kept.append(row)
            tally.accepted += len(kept)
            yield kept


def _fault(
    record: Record[CountRow], row: CountRow, there: Collection[str], known: KeySet, now: datetime
) -> Fault | None:
    line = record.line
    if row.sku not in there:
        return Fault(line, "sku", row.sku, "a product that exists", "unknown sku")
    if row.counted_at > now:
        when = row.counted_at.isoformat()
        return Fault(line, "counted_at", when, "a time that has passed", "counted_at")
    if not known.add(f"{row.location}\0{row.sku}"):
        what = f"{row.sku} at {row.location}"
        return Fault(line, "sku", what, "each SKU and location once in a file", "counted twice")
    return None
