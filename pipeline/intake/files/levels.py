"""Importing stock: each line of a file is a movement, and is posted once however often it is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from pipeline.errors import OrdermillError
from pipeline.intake.files.batches import batches
from pipeline.intake.files.fault import Fault
from pipeline.intake.files.interrupt import uninterrupted
from pipeline.intake.files.lines import TextFile, digest_of
from pipeline.intake.files.mapping import Cell, CsvMapping
from pipeline.intake.files.records import Record, read_records
from pipeline.intake.files.rejects import reject_file
from pipeline.intake.files.spool import on_disk
from pipeline.intake.files.tally import Progress, Tally, reject, sound
from pipeline.intake.schema import Sku, Text
from pipeline.inventory.allocation import Level
from pipeline.inventory.movement import COUNT
from pipeline.stocktaking import MOST_UNITS, Count, difference
from pipeline.storage import catalogue, stock, stock_imports
from pipeline.storage.database import Database, Tx
from pipeline.storage.stock import Movement


class StockCells(BaseModel):
    """Which column is which field of a line of stock."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    sku: Cell
    location: Cell
    quantity: Cell
    kind: Cell | None = None
    reason: Cell | None = None
    at: Cell | None = None


class StockMapping(CsvMapping):
    """A mapping for stock: [csv] as for orders, and [stock]; without it the columns bear the fields'
    own names."""

    stock: StockCells | None = None


class StockRow(BaseModel):
    """One line: units that came in (receipt), a correction up or down (adjustment), or how many were
    found (count), `at` a time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sku: Sku
    location: Annotated[Text, Field(max_length=32)]
    kind: Literal["receipt", "adjustment", "count"] = "receipt"
    quantity: Annotated[int, Field(ge=-MOST_UNITS, le=MOST_UNITS)]
    reason: Text | None = None
    at: datetime | None = None

    @field_validator("quantity")
    @classmethod
    def _fits_the_kind(cls, quantity: int, info: ValidationInfo) -> int:
        if info.data.get("kind") == "count":
            if quantity < 0:
                raise ValueError("0 or more for a count")
            return quantity
        if quantity == 0:
            raise ValueError("some units; none is no movement")
        if quantity < 0 and info.data.get("kind") == "receipt":
            raise ValueError("more than 0 for a receipt; an adjustment takes units away")
        return quantity

    @field_validator("at")
    @classmethod
    def _of_a_count(cls, at: datetime | None, info: ValidationInfo) -> datetime | None:
        if at is not None and info.data.get("kind") != "count":
            raise ValueError("no time but for a count; all else is posted as of now")
        return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)

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
    mapping: StockMapping | None = None,
    progress: Callable[[Progress[Tally]], None] = lambda _: None,
) -> Tally:
    """Post the movements in a file: CSV (sku, location, quantity[, kind, reason, at], or what a
    `mapping` says) or JSON lines.

    The same content again is skipped line by line, so an import that broke off is resumed, and
    what was rejected (an unknown SKU) is posted once its cause is gone. A delivery that repeats
    an earlier one to the letter must say so, by its `reason`. Errors are those of `import_orders`.
    """
    tally = Tally()
    form, cells = (mapping.csv, mapping.stock) if mapping else (None, None)
    with (
        on_disk(path) as there,
        closing(TextFile(there, form.encoding if form else "utf-8")) as file,
        reject_file(rejects, there, "sku") as refuse,
    ):
        digest = digest_of(there)
        for batch in batches(read_records(file, there, StockRow, form, cells)):
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
            refused += [
                replace(record, faults=[error.faults[record.line]])
                for record, _ in good
                if record.line in error.faults
            ]
            good = [each for each in good if each[0].line not in error.faults]


class _Refused(OrdermillError):
    """Some new lines can't be posted; the transaction is rolled back."""

    def __init__(self, faults: dict[int, Fault]) -> None:
        super().__init__(f"{len(faults)} lines can't be posted")
        self.faults = faults


def _post_new(database: Database, digest: str, good: Good, actor: str) -> int:
    """Post the lines that were not posted before, all or (raising _Refused) none."""
    with database.transaction() as tx:
        new = stock_imports.claim(tx, digest, [record.line for record, _ in good])
        fresh = [(record.line, row) for record, row in good if record.line in new]
        if fresh:
            stock.open_levels(tx, {row.level for _, row in fresh})
        for turn in _turns(fresh):
            _post_turn(tx, turn, actor)
    return len(fresh)


Lines = list[tuple[int, StockRow]]


def _turns(fresh: Lines) -> list[Lines]:
    """The lines in turns, so that a count of a level sees what the lines above it did there, and
    those below don't: a turn has one count of a level, or only other lines of it."""
    turns: list[Lines] = []
    last: dict[Level, tuple[int, bool]] = {}
    for line, row in fresh:
        turn, was_count = last.get(row.level, (0, False))
        is_count = row.kind == COUNT
        turn += row.level in last and (is_count or was_count)
        last[row.level] = turn, is_count
        if turn == len(turns):
            turns.append([])
        turns[turn].append((line, row))
    return turns


def _post_turn(tx: Tx, turn: Lines, actor: str) -> None:
    counts = [(line, row) for line, row in turn if row.kind == COUNT]
    found = difference(tx, [Count(r.level, r.quantity, r.at, r.reason) for _, r in counts])
    made = {line: each for (line, _), each in zip(counts, found, strict=True)}
    if early := {
        line: Fault(line, "at", str(row.at), expected, "count at the wrong time")
        for line, row in counts
        if isinstance(expected := made[line], str)
    }:
        raise _Refused(early)
    movements = {line: made.get(line) or _movement(row) for line, row in turn}
    moved = {line: m for line, m in movements.items() if isinstance(m, Movement)}
    if refusing := stock.post(tx, list(moved.values()), actor):
        raise _Refused(
            {
                line: _short(line, row)
                for line, row in turn
                if row.level in refusing and moved[line].quantity < 0
            }
        )


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


def _short(line: int, row: StockRow) -> Fault:
    expected = "no fewer units than are promised to orders"
    return Fault(line, "quantity", str(row.quantity), expected, "promised")
