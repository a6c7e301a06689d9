"""Job runs: a row for each time a job was due, or asked for. Who takes it runs it, nobody else can.

A run is held by a lease, as a dispatch is. Whoever finds one run out takes the run over; what its
first holder would still write is refused, as the lease is another's by then.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Float,
    String,
    and_,
    bindparam,
    delete,
    exists,
    func,
    null,
    or_,
    select,
    update,
)

from pipeline.storage.database import Tx
from pipeline.storage.sql import UtcDateTime, now, pack, rows
from pipeline.storage.tables import job_runs
from pipeline.storage.upsert import insert_into

#: `problem`: it ran well, and found something for a person to look at. `skipped`: its moment came
#: while an earlier run was still going on.
State = Literal["waiting", "running", "fine", "problem", "failed", "skipped"]
OPEN: tuple[State, ...] = ("waiting", "running")

_runs = job_runs.c
_other = job_runs.alias("other")


def _seconds(name: str) -> ColumnElement[Any]:
    return bindparam(name, type_=Float)


def _is_held() -> ColumnElement[bool]:
    return and_(
        _runs.id == bindparam("run_id"),
        _runs.lease == bindparam("token"),
        _runs.state == "running",
    )


_has_lapsed = and_(_runs.state == "running", _runs.leased_until <= now())
_OPEN = (
    select(_runs.id, _runs.job, _runs.state, _runs.attempt, _has_lapsed.label("lapsed"))
    .where(or_(_runs.state == "waiting", _runs.state == "running"))
    .order_by(_runs.id)
)
_named = rows(_runs.job, parameter="jobs")
_LATEST = select(
    _named.c.job,
    select(func.max(_runs.fire_at))
    .where(_runs.job == _named.c.job, _runs.asked_by.is_(None))
    .scalar_subquery()
    .label("fire_at"),
)


def open_runs(tx: Tx) -> list[Any]:
    """Runs that wait or are going on, oldest first; `lapsed` says whose runner is gone or hangs."""
    return list(tx.execute(_OPEN))


def latest_moments(tx: Tx, jobs: Collection[str]) -> dict[str, datetime]:
    """By job, the latest moment of its schedule that was dealt with."""
    found = tx.execute(_LATEST, {"jobs": pack((job,) for job in jobs)})
    return {r.job: r.fire_at for r in found if r.fire_at is not None}


# Not a moment that another has overtaken: who was slow to insert it would run it too late, and
# beside a newer one that has caught up on it.
_is_overtaken = exists().where(
    _other.c.job == bindparam("name", type_=String),
    _other.c.asked_by.is_(None),
    _other.c.fire_at >= bindparam("moment", type_=UtcDateTime),
)


def fire(tx: Tx, job: str, moment: datetime, token: str, by: str, seconds: float) -> int | None:
    """Take the moment, and hold the run for `seconds`; None if another has it, a newer one, or is
    running the job."""
    names = ["job", "fire_at", "state", "attempt", "lease", "leased_until", "by", "started_at"]
    new: Any = select(
        bindparam("name", type_=String), bindparam("moment", type_=UtcDateTime),
        bindparam("state", "running"), bindparam("attempt", 1), bindparam("token", type_=String),
        now(_seconds("seconds")), bindparam("runner", type_=String), now(),
    ).where(~_is_overtaken)  # fmt: skip
    statement = insert_into(tx, job_runs).from_select(names, new).on_conflict_do_nothing()
    values = {"name": job, "moment": moment, "token": token, "runner": by, "seconds": seconds}
    return tx.execute(statement.returning(_runs.id), values).scalar_one_or_none()


def skip(tx: Tx, job: str, moment: datetime, why: str) -> None:
    """Leave a moment out, and say why; nothing if another has dealt with it."""
    names = ["job", "fire_at", "state", "attempt", "finished_at", "error"]
    new: Any = select(
        bindparam("name", type_=String), bindparam("moment", type_=UtcDateTime),
        bindparam("state", "skipped"), bindparam("attempt", 0), now(),
        bindparam("why", type_=String),
    ).where(~_is_overtaken)  # fmt: skip
    statement = insert_into(tx, job_runs).from_select(names, new).on_conflict_do_nothing()
    tx.execute(statement, {"name": job, "moment": moment, "why": why})


def ask(tx: Tx, job: str, asked_by: str) -> int:
    """Let the job run beside its schedule, as soon as somebody takes it; the run's number."""
    statement = insert_into(tx, job_runs).values(
        job=job, fire_at=now(), asked_by=asked_by, state="waiting", attempt=0
    )
    return int(tx.execute(statement.returning(_runs.id)).scalar_one())


_taken = {
    "state": "running",
    "attempt": _runs.attempt + 1,
    "lease": bindparam("token"),
    "leased_until": now(_seconds("seconds")),
    "by": bindparam("runner"),
    "started_at": now(),
}
_START = (
    update(job_runs)
    .where(
        _runs.id == bindparam("run_id"),
        _runs.state == "waiting",
        ~exists().where(_other.c.job == _runs.job, _other.c.state == "running"),
    )
    .values(_taken)
    .returning(_runs.attempt)
)
_TAKE_OVER = (
    update(job_runs)
    .where(_runs.id == bindparam("run_id"), _has_lapsed, _runs.attempt < bindparam("most"))
    .values(_taken)
    .returning(_runs.attempt)
)
_GIVE_UP = (
    update(job_runs)
    .where(_runs.id == bindparam("run_id"), _has_lapsed, _runs.attempt >= bindparam("most"))
    .values(
        state="failed", finished_at=now(), error=bindparam("why"), lease=null(),
        leased_until=null(),
    )
    .returning(_runs.id)
)  # fmt: skip


def start(tx: Tx, run_id: int, token: str, by: str, seconds: float) -> int | None:
    """Take a run that waits: its attempt, or None if another has it or runs the job. Two who start
    two runs of one job at once: the second gets an IntegrityError."""
    values = {"run_id": run_id, "token": token, "runner": by, "seconds": seconds}
    return tx.execute(_START, values).scalar_one_or_none()


def take_over(
    tx: Tx, run_id: int, token: str, by: str, seconds: float, most_attempts: int
) -> int | None:
    """Take a run whose lease ran out: its attempt, or None if it hasn't, or not any more."""
    values = {"run_id": run_id, "token": token, "runner": by, "seconds": seconds}
    return tx.execute(_TAKE_OVER, {**values, "most": most_attempts}).scalar_one_or_none()


def give_up(tx: Tx, run_id: int, why: str, most_attempts: int) -> bool:
    """Let a run fail whose lease ran out as often as may be."""
    values = {"run_id": run_id, "why": why, "most": most_attempts}
    return tx.execute(_GIVE_UP, values).one_or_none() is not None


_RENEW = (
    update(job_runs)
    .where(_is_held(), _runs.started_at > now(_seconds("limit")))
    .values(leased_until=now(_seconds("seconds")))
)
# Shared: the transactions of one run don't wait for each other. Who takes it over waits for them.
_HOLDS = select(_runs.id).where(_is_held()).with_for_update(read=True)
_FINISH = (
    update(job_runs)
    .where(_is_held())
    .values(
        state=bindparam("outcome"), finished_at=now(), result=bindparam("told"),
        error=bindparam("failure"), log=bindparam("records"), lease=null(), leased_until=null(),
    )
)  # fmt: skip
# Of one that was broken off by no fault of its own: the attempt counts.
_AGAIN = (
    update(job_runs)
    .where(_is_held())
    .values(state="waiting", error=bindparam("failure"), lease=null(), leased_until=null())
)
# The attempt that was broken off in good order doesn't count.
_RELEASE = (
    update(job_runs)
    .where(_is_held())
    .values(state="waiting", attempt=_runs.attempt - 1, lease=null(), leased_until=null())
)


def renew(tx: Tx, run_id: int, token: str, seconds: float, limit: float) -> bool:
    """Hold it for `seconds` more; False if it was lost, or has been going on longer than `limit`."""
    values = {"run_id": run_id, "token": token, "seconds": seconds, "limit": -limit}
    return tx.execute(_RENEW, values).rowcount == 1


def holds(tx: Tx, run_id: int, token: str) -> bool:
    """Whether the run is still ours; if so it stays so until the end of the transaction."""
    return tx.execute(_HOLDS, {"run_id": run_id, "token": token}).one_or_none() is not None


def finish(
    tx: Tx, run_id: int, token: str, state: State, result: str | None, error: str | None, log: str
) -> bool:
    """Write how the run ended; False if it was lost to another."""
    values = {"run_id": run_id, "token": token, "outcome": state, "told": result,
              "failure": error, "records": log}  # fmt: skip
    return tx.execute(_FINISH, values).rowcount == 1


def again(tx: Tx, run_id: int, token: str, error: str) -> bool:
    """Let it be run again at once, by whoever comes first; False if it was lost to another."""
    values = {"run_id": run_id, "token": token, "failure": error}
    return tx.execute(_AGAIN, values).rowcount == 1


def release(tx: Tx, run_id: int, token: str) -> bool:
    """Hand it back unfinished, for another to run; False if it was not ours any more."""
    return tx.execute(_RELEASE, {"run_id": run_id, "token": token}).rowcount == 1


_TOLD = [c for c in job_runs.columns if c.name not in ("lease", "leased_until", "log")]
_history = select(*_TOLD).order_by(_runs.fire_at.desc(), _runs.id.desc()).limit(bindparam("most"))
_ONE = select(*_TOLD, _runs.log).where(_runs.id == bindparam("run_id"))
_LAST = select(*_TOLD).where(
    _runs.id.in_(
        select(
            select(_runs.id)
            .where(_runs.job == _named.c.job)
            .order_by(_runs.fire_at.desc(), _runs.id.desc())
            .limit(1)
            .scalar_subquery()
        ).select_from(_named)
    )
)


def _newest(*states: State) -> Any:
    """The newest run of the schedule in one of these states, of each job; by the index on moments."""
    its = (
        select(_runs.id)
        .where(_runs.job == _named.c.job, _runs.asked_by.is_(None), _runs.state.in_(states))
        .order_by(_runs.fire_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    return select(*_TOLD).where(_runs.id.in_(select(its).select_from(_named)))


_ENDED = _newest("fine", "problem", "failed")
_DONE = _newest("fine", "problem")
# The latest moment of a job is how we know that it was dealt with: it stays, however old.
_FORGET = delete(job_runs).where(
    _runs.fire_at < now(_seconds("offset")),
    _runs.state.not_in(OPEN),
    exists().where(
        _other.c.job == _runs.job,
        _other.c.asked_by.is_(None),
        _other.c.fire_at > _runs.fire_at,
    ),
)


def history(tx: Tx, most: int, job: str | None = None) -> list[Any]:
    """Runs, of all jobs or one, the newest first; without their logs."""
    query = _history if job is None else _history.where(_runs.job == job)
    return list(tx.execute(query, {"most": most}))


def one(tx: Tx, run_id: int) -> Any:
    """A run with its log, or None."""
    return tx.execute(_ONE, {"run_id": run_id}).one_or_none()


def last(tx: Tx, jobs: Collection[str]) -> dict[str, Any]:
    """The newest run of each of these jobs that has one."""
    found = tx.execute(_LAST, {"jobs": pack((job,) for job in jobs)})
    return {r.job: r for r in found}


def ended(tx: Tx, jobs: Collection[str], *, well: bool = False) -> dict[str, Any]:
    """The newest run of each of these jobs' schedules that ended; if `well`, that didn't fail."""
    found = tx.execute(_DONE if well else _ENDED, {"jobs": pack((job,) for job in jobs)})
    return {r.job: r for r in found}


def told(run: Any) -> dict[str, Any]:
    """A run as people and programs are told of it."""
    took = run.finished_at - run.started_at if run.finished_at and run.started_at else None
    return {
        "run": run.id,
        "job": run.job,
        "due": run.fire_at,
        "state": run.state,
        "attempt": run.attempt,
        "asked_by": run.asked_by,
        "by": run.by,
        "started": run.started_at,
        "seconds": None if took is None else round(took.total_seconds(), 3),
        "result": None if run.result is None else json.loads(run.result),
        "error": run.error,
    }


def forget(tx: Tx, seconds: float) -> int:
    """Delete runs that were due longer ago than this, but for each job's last; how many."""
    return int(tx.execute(_FORGET, {"offset": -seconds}).rowcount)
