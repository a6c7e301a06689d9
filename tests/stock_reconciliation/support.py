"""Counts in files, and what a run says of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.stock_reconciliation.act import Plan
from pipeline.stock_reconciliation.reconcile import Reconciled, feed_of, reconcile
from pipeline.storage import clock
from tests.support import Mill

HEADER = "sku,location,units,counted_at"


def now(shop: Mill) -> datetime:
    with shop.database.snapshot() as tx:
        return clock.read(tx)


def counted(folder: Path, *rows: tuple[Any, ...], name: str = "counts.csv") -> Path:
    """A file of (sku, location, units, time)."""
    return written(folder / name, rows)


def written(path: Path, rows: Iterable[tuple[Any, ...]]) -> Path:
    lines = (",".join(str(cell) for cell in row) for row in rows)
    path.write_text("\n".join([HEADER, *lines, ""]))
    return path


def run(shop: Mill, *files: Path, **plan: Any) -> Reconciled:
    return reconcile(shop.database, Plan(**plan), [feed_of(file) for file in files])


def differences(shop: Mill, columns: str = "kind, sku, location, expected, found") -> list[Any]:
    """Those that stand, and those that were put right."""
    query = f"SELECT {columns} FROM stock_differences WHERE cleared_at IS NULL OR done = 'adjusted'"
    return [tuple(row) for row in shop.query(f"{query} ORDER BY kind, sku, location, of_order")]


def on_hand(shop: Mill, sku: str, location: str = "main") -> int:
    found = shop.query(
        "SELECT on_hand FROM stock_levels WHERE sku = :s AND location = :l", s=sku, l=location
    )
    return int(found[0][0])
