"""Products that have run low: who is, and of which somebody was told."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import delete, select

from pipeline.storage.database import Tx
from pipeline.storage.sql import now, pack, rows, texts
from pipeline.storage.tables import stock_alerts as alerts
from pipeline.storage.upsert import InsertNew

_skus = rows(alerts.c.sku)
_TELL = InsertNew(alerts, ["sku", "told_at"], select(_skus.c.sku, now()))
_RECOVER = delete(alerts).where(alerts.c.sku.in_(texts("skus")))


def told(tx: Tx) -> set[str]:
    """The SKUs that somebody was told of, and that had not recovered when last looked at."""
    return set(tx.execute(select(alerts.c.sku)).scalars())


def tell(tx: Tx, skus: Iterable[str]) -> None:
    """Somebody was told of these. Twice is once."""
    _TELL(tx, {"rows": pack((sku,) for sku in skus)})


def recover(tx: Tx, skus: Iterable[str]) -> None:
    """These are low no more: somebody is to be told when they are again."""
    tx.execute(_RECOVER, {"skus": pack((sku,) for sku in skus)})
