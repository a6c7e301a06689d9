"""Importing shipments: each line of a carrier's or a warehouse's file is one, and ships once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pipeline.fulfilment import Duplicate, ship
from pipeline.intake.files.batches import batches
from pipeline.intake.files.cleaning import separated
from pipeline.intake.files.fault import Fault, label_of
from pipeline.intake.files.interrupt import uninterrupted
from pipeline.intake.files.lines import TextFile
from pipeline.intake.files.records import Record, read_records
from pipeline.intake.files.rejects import WriteRejects, reject_file
from pipeline.intake.files.spool import on_disk
from pipeline.intake.files.tally import Progress, Tally, reject, sound
from pipeline.intake.schema import MOST_LINES, MOST_QUANTITY, Id
from pipeline.inventory.shipping import Refused, Shipment
from pipeline.problems import fit_to_show
from pipeline.storage import intake, sources
from pipeline.storage.database import Database, Tx


def _units(value: Any) -> Any:
    """A CSV cell holds line=units, several separated by |."""
    if not isinstance(value, str):
        return value
    parts = [part.partition("=") for part in separated(value)]
    found = {line.strip(): units.strip() for line, _, units in parts}
    if len(found) < len(parts) or not all(found.values()):
        raise ValueError("units by line, each line once, such as 1=2|3=1")
    return found


_LineNo = Annotated[int, Field(ge=1, le=MOST_LINES)]
_Units = Annotated[int, Field(ge=1, le=MOST_QUANTITY)]


class ShipmentRow(BaseModel):
    """One line: a shipment of an order, which is named by its id, or its source and external_id; of
    units by line, or all that is left. Without a reference, the tracking number is it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    external_id: Id | None = None
    source: str | None = None
    id: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    lines: Annotated[dict[_LineNo, _Units] | None, BeforeValidator(_units)] = None
    location: str | None = None
    carrier: str | None = None
    tracking: str | None = None
    reference: str | None = None

    @model_validator(mode="after")
    def _is_named(self) -> Self:
        if (self.id is None) == (self.external_id is None):
            raise ValueError("external_id: an external_id with its source, or an id")
        if (self.source is None) != (self.external_id is None):
            raise ValueError("source: a source where there is an external_id, else none")
        if self.reference is None and self.tracking is None:
            raise ValueError("reference: a reference, or a tracking number")
        return self

    def shipment(self, order_id: int, *, capture: bool) -> Shipment:
        return Shipment(
            order_id, self.reference or self.tracking or "", self.lines, self.location,
            self.carrier, self.tracking, capture,
        )  # fmt: skip


Good = Iterable[tuple[Record[ShipmentRow], ShipmentRow]]


def import_shipments(
    database: Database,
    path: Path,
    actor: str,
    rejects: Path | None = None,
    progress: Callable[[Progress[Tally]], None] = lambda _: None,
    *,
    capture: bool = False,
) -> Tally:
    """Ship what a file says: CSV with the fields of `ShipmentRow`, or JSON lines; with `capture` the
    money that is due is asked for as well. Again changes nothing; errors are those of
    `import_orders`."""
    tally = Tally()
    with (
        on_disk(path) as there,
        closing(TextFile(there)) as file,
        reject_file(rejects, there) as refuse,
    ):
        for batch in batches(read_records(file, there, ShipmentRow)):
            with uninterrupted():
                good = sound(batch, tally, refuse)
                with database.transaction() as tx:
                    verdicts = _ship(tx, good, actor, capture)
                _count(verdicts, tally, refuse)
            progress(Progress(file.done, file.total, tally))
    return tally


#: A line, and whether it was shipped (else it had been before); one that was refused has faults.
_Judged = list[tuple[Record[ShipmentRow], bool]]


def _ship(tx: Tx, good: Good, actor: str, capture: bool) -> _Judged:
    known = _ids(tx, [row for _, row in good])
    found = [(record, known.get(_name(row))) for record, row in good]
    judged = [(replace(r, faults=[_unknown(r)]), False) for r, number in found if number is None]
    named = [(r, number) for r, number in found if number is not None]
    shipments = [r.value.shipment(n, capture=capture) for r, n in named if r.value is not None]
    for (record, _), verdict in zip(named, ship(tx, shipments, actor), strict=True):
        faults = [_fault(record, verdict)] if isinstance(verdict, Refused) else []
        judged.append((replace(record, faults=faults), not isinstance(verdict, Duplicate)))
    return sorted(judged, key=lambda each: each[0].line)


def _count(judged: _Judged, tally: Tally, refuse: WriteRejects) -> None:
    for record, is_new in judged:
        if record.faults:
            reject(record, tally, refuse)
        else:
            tally.accepted += is_new
            tally.skipped += not is_new


_Name = int | tuple[str | None, str | None]


def _name(row: ShipmentRow) -> _Name:
    return (row.source, row.external_id) if row.id is None else row.id


def _ids(tx: Tx, rows: Iterable[ShipmentRow]) -> Mapping[_Name, int]:
    """Order ids by what the rows call them. An id stands for itself: whether there is such an order
    is seen under its lock."""
    by_name = {source.name: source.id for source in sources.all_sources(tx).values()}
    names = {number: name for name, number in by_name.items()}
    keys = {
        (by_name[r.source], r.external_id) for r in rows if r.source in by_name and r.external_id
    }
    found: dict[_Name, int] = {r.id: r.id for r in rows if r.id is not None}
    found |= {(names[source], name): i for (source, name), i, _ in intake.find(tx, sorted(keys))}
    return found


def _unknown(record: Record[ShipmentRow]) -> Fault:
    return Fault(
        record.line, "external_id", record.key or "", "an order of that source", "unknown order"
    )


def _fault(record: Record[ShipmentRow], refused: Refused) -> Fault:
    field = refused.field
    return Fault(record.line, field, fit_to_show(refused.value), refused.expected, label_of(field))
