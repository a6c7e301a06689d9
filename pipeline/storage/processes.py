"""The registry of processes: who is there, and what it is doing at this moment."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, delete, exists, or_, select, update

from pipeline.storage.database import Tx
from pipeline.storage.schema_version import wanted_schema
from pipeline.storage.sql import now
from pipeline.storage.tables import processes
from pipeline.storage.upsert import insert_into
from pipeline.version import VERSION

#: Seconds of silence after which a process is taken for gone.
SILENCE = 10.0
#: Seconds for which one that is gone is listed: who looks after a crash shall see it, who looks on
#: the next day has no use for it.
GONE = 300.0
#: Seconds after which it is forgotten.
FORGET = 3600.0

_SEEN = (
    update(processes)
    .where(processes.c.id == bindparam("key"))
    .values(seen_at=now(), doing=bindparam("doing_now"))
)
_is_alive = processes.c.seen_at > now(-SILENCE)
_later = processes.alias("later")
# One that was started again in its place, by a supervisor or by hand.
_is_replaced = exists().where(
    _later.c.role == processes.c.role,
    _later.c.host == processes.c.host,
    _later.c.started_at > processes.c.seen_at,
)
_ALL = (
    select(processes, _is_alive.label("alive"))
    .where(or_(_is_alive, and_(processes.c.seen_at > now(-GONE), ~_is_replaced)))
    .order_by(processes.c.role, processes.c.started_at)
)
_LEAVE = delete(processes).where(processes.c.id == bindparam("key"))
_FORGET = delete(processes).where(processes.c.seen_at < now(-FORGET))


def seen(tx: Tx, process_id: str, role: str, host: str, pid: int, doing: str) -> None:
    """Say that a process of this code is alive and what it does (JSON); the first time, make it known."""
    if not tx.execute(_SEEN, {"key": process_id, "doing_now": doing}).rowcount:
        tx.execute(_FORGET)
        tx.execute(
            insert_into(tx, processes).values(
                id=process_id, role=role, host=host, pid=pid, doing=doing,
                started_at=now(), seen_at=now(), version=VERSION, code_schema=wanted_schema(),
            )
        )  # fmt: skip


def left(tx: Tx, process_id: str) -> None:
    """A process has stopped in good order."""
    tx.execute(_LEAVE, {"key": process_id})


def all_processes(tx: Tx) -> list[Any]:
    """All that are there; and those that are gone (not `alive`) for five minutes, unless another of
    their role has started on their host since."""
    return list(tx.execute(_ALL))
