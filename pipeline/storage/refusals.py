"""What intake refused from a message: nobody waits there for a verdict, so it is written down."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, exists, insert, select, update

from pipeline.erasure import ERASED
from pipeline.storage.database import Tx
from pipeline.storage.sql import UtcDateTime, now, pack, rows
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


_refused = rows(refusals.c.source, refusals.c.external_id)
_ERASE = update(refusals).values(problems=pack([ERASED]))
_ERASE_OF_ORDERS = _ERASE.where(
    exists(
        select(1).where(
            refusals.c.source == _refused.c.source,
            refusals.c.external_id == _refused.c.external_id,
        )
    )
)
_ERASE_OLD = _ERASE.where(
    refusals.c.source == bindparam("of_source"),
    refusals.c.at < bindparam("cutoff", type_=UtcDateTime),
    refusals.c.problems != pack([ERASED]),
)


def erase(tx: Tx, keys: Sequence[tuple[str, str]]) -> None:
    """Forget what was wrong, for it quotes what was sent, with orders by (source, external id)."""
    tx.execute(_ERASE_OF_ORDERS, {"rows": pack(keys)})


def erase_old(tx: Tx, source: str, cutoff: datetime) -> None:
    """The same, for what a source was refused before then."""
    tx.execute(_ERASE_OLD, {"of_source": source, "cutoff": cutoff})


def latest(tx: Tx, most: int) -> list[Any]:
    """The newest refusals first."""
    return list(tx.execute(_LATEST, {"most": most}))
