"""Pausing: a step with a row here is not claimed by anyone."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, delete, select

from pipeline.storage.database import Tx
from pipeline.storage.sql import now
from pipeline.storage.tables import queues
from pipeline.storage.upsert import insert_into

_PAUSED = select(queues)
_RESUME = delete(queues).where(queues.c.step == bindparam("key"))


def paused(tx: Tx) -> dict[str, Any]:
    """The paused steps, with since when (`paused_at`) and by whom (`paused_by`)."""
    return {r.step: r for r in tx.execute(_PAUSED)}


def pause(tx: Tx, step: str, actor: str) -> bool:
    """Let no more be claimed of `step`; what is being worked on is finished. False: it was paused."""
    row = insert_into(tx, queues).values(step=step, paused_by=actor, paused_at=now())
    return bool(tx.execute(row.on_conflict_do_nothing()).rowcount)


def resume(tx: Tx, step: str) -> bool:
    """Go on with `step`; False if it was not paused."""
    return bool(tx.execute(_RESUME, {"key": step}).rowcount)
