"""What intake refused from a message: nobody waits there for a verdict, so it is written down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, insert, select

from pipeline.storage.database import Tx
from pipeline.storage.sql import now, pack, rows
from pipeline.storage.tables import refusals

_given = rows(refusals.c.external_id, refusals.c.problems)
_INSERT = insert(refusals).from_select(
    ["at", "source", "external_id", "problems"],
    select(now(), bindparam("source"), _given.c.external_id, _given.c.problems),
)
_LATEST = select(refusals).order_by(refusals.c.id.desc()).limit(bindparam("most"))


def add(tx: Tx, source: str, refused: Sequence[tuple[str | None, Sequence[Any]]]) -> None:
    """Write refused orders: (external id, problems), with the problems as text."""
    if refused:
        packed = pack((i, pack(str(p) for p in problems)) for i, problems in refused)
        tx.execute(_INSERT, {"rows": packed, "source": source[:64]})


def latest(tx: Tx, most: int) -> list[Any]:
    """The newest refusals first."""
    return list(tx.execute(_LATEST, {"most": most}))
