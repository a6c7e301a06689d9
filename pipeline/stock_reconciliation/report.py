"""What a run found, as rows, as CSV and as a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.formulas import write_table
from pipeline.stock_reconciliation.reconcile import Reconciled
from pipeline.storage import stock_differences as storage
from pipeline.storage.database import Database

#: Differences that a table or a page shows; CSV has them all.
MOST_SHOWN = 1_000

COLUMNS = (
    "sku", "location", "kind", "order", "expected", "found", "difference", "at", "cause", "done",
    "found_at",
)  # fmt: skip

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def differences(database: Database, found: Reconciled) -> Iterator[dict[str, Any]]:
    """All that a run found, by kind, SKU and location; `order` is None where it is of no one order."""
    with database.snapshot() as tx:
        yield from map(_told, storage.seen(tx, found.since))


def _told(row: Any) -> dict[str, Any]:
    values = (
        row.sku, row.location, row.kind, row.of_order or None, row.expected, row.found,
        row.found - row.expected, row.at, row.cause, row.done, row.found_at,
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def write_csv(rows: Iterable[dict[str, Any]], file: IO[str]) -> None:
    write_table(file, COLUMNS, rows)


def page(found: Reconciled, rows: Iterable[dict[str, Any]]) -> str:
    """The run as one HTML file that needs no other."""
    return _templates.get_template("differences.html").render(
        found=found, rows=list(islice(rows, MOST_SHOWN)), more=max(0, found.total - MOST_SHOWN)
    )


def summary(found: Reconciled) -> dict[str, Any]:
    """Its figures: differences, by kind and by what was done; what became of the counts."""
    return {
        "differences": found.total,
        "new": found.new,
        "cleared": found.cleared,
        "kinds": dict(found.differences),
        "done": dict(found.done),
        "counts": found.counts,
        "rejected": sum(feed.tally.rejected for feed in found.feeds),
        "feeds": [feed.name for feed in found.feeds],
        "refused": {feed.name: feed.refused for feed in found.feeds if feed.refused},
    }
