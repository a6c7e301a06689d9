"""Counters: one row a recorded batch and outcome, so that no dashboard has to count orders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import bindparam, func, insert, select

from pipeline.storage.database import Tx
from pipeline.storage.sql import now, pack, rows
from pipeline.storage.tables import counters

_new = rows(counters.c.step, counters.c.outcome, counters.c.orders)
_INSERT = insert(counters).from_select(
    ["at", "step", "outcome", "orders"],
    select(now(), _new.c.step, _new.c.outcome, _new.c.orders),
)
_SINCE = (
    select(counters.c.step, counters.c.outcome, func.sum(counters.c.orders).label("orders"))
    .where(counters.c.at > now(bindparam("offset")))
    .group_by(counters.c.step, counters.c.outcome)
)


def add(tx: Tx, step: str, outcomes: Mapping[str, int]) -> None:
    """Count what became of a batch: orders by outcome."""
    if outcomes:
        tx.execute(_INSERT, {"rows": pack((step, kind, n) for kind, n in outcomes.items())})


def since(tx: Tx, seconds: float) -> dict[tuple[str, str], int]:
    """Orders by (step, outcome) in the last `seconds`."""
    found: Any = tx.execute(_SINCE, {"offset": -seconds})
    return {(r.step, r.outcome): int(r.orders) for r in found}
