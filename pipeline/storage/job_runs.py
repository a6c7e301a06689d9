"""Job runs: a row for each time a job was due. Who inserts it runs it; nobody else can."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, func, select, update

from pipeline.storage.database import Tx
from pipeline.storage.sql import now
from pipeline.storage.tables import job_runs
from pipeline.storage.upsert import insert_into

_FINISH = (
    update(job_runs)
    .where(job_runs.c.job == bindparam("job_name"), job_runs.c.fire_at == bindparam("fired"))
    .values(finished_at=now(), result=bindparam("outcome"), error=bindparam("failure"))
)
_FORGET = delete(job_runs).where(job_runs.c.fire_at < now(bindparam("offset")))
_HISTORY = select(job_runs).order_by(job_runs.c.fire_at.desc()).limit(bindparam("most"))
_LATEST = select(job_runs.c.job, func.max(job_runs.c.fire_at).label("fire_at")).group_by(
    job_runs.c.job
)


def begin(tx: Tx, job: str, fire_at: datetime, by: str) -> bool:
    """Take this run of the job; False if another scheduler has it."""
    statement = (
        insert_into(tx, job_runs)
        .values(job=job, fire_at=fire_at, started_at=now(), by=by)
        .on_conflict_do_nothing()
        .returning(job_runs.c.job)
    )
    return tx.execute(statement).one_or_none() is not None


def finish(tx: Tx, job: str, fire_at: datetime, result: str | None, error: str | None) -> None:
    """Write how the run ended."""
    tx.execute(_FINISH, {"job_name": job, "fired": fire_at, "outcome": result, "failure": error})


def history(tx: Tx, most: int) -> list[Any]:
    """The newest runs first."""
    return list(tx.execute(_HISTORY, {"most": most}))


def latest(tx: Tx) -> dict[str, datetime]:
    """By job, when it last fired."""
    return {r.job: r.fire_at for r in tx.execute(_LATEST)}


def forget(tx: Tx, seconds: float) -> int:
    """Delete runs that fired longer ago than this; how many."""
    return int(tx.execute(_FORGET, {"offset": -seconds}).rowcount)
