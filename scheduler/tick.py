"""The tick: each due moment of each job is run once, whoever notices it first.

There is no leader. Every scheduler looks at the same rows by the database's clock, decides the
same, and tries to take what is to be done; the database lets one of them.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from pipeline.assembly import Application
from pipeline.storage import clock, job_runs
from pipeline.storage.database import Database
from scheduler.decision import Fire, Seen, Skip, decide
from scheduler.job import Job
from scheduler.runner import Pace, Runner


def look(database: Database, jobs: Collection[Job]) -> Seen:
    with database.snapshot() as tx:
        names = [job.name for job in jobs]
        return Seen(clock.read(tx), job_runs.open_runs(tx), job_runs.latest_moments(tx, names))


def tick(database: Database, runner: Runner, jobs: Collection[Job]) -> int:
    """Take what is to be done about `jobs`; how many runs have begun here."""
    seen = look(database, jobs)
    actions = [(job, decide(job, seen)) for job in jobs]
    return sum(runner.act(job, action) for job, action in actions if action is not None)


def run_until_ended(
    app: Application, job: Job, run_id: int, timeout: float | None = None, pace: Pace | None = None
) -> Any:
    """Wait for a run that was asked for, and do it here unless a scheduler is first. Its row: as it
    ended or, after `timeout` seconds, as it stands; what we had in hand is handed back then."""
    pace = pace or Pace(tick=0.1)
    give_up = None if timeout is None else time.monotonic() + timeout
    runner = Runner(app, pace)
    try:
        while _is_open(app.database, run_id) and (give_up is None or time.monotonic() < give_up):
            action = decide(job, look(app.database, [job]))
            if action is not None and not isinstance(action, Fire | Skip):
                runner.act(job, action)
            runner.wait(pace.tick)
            time.sleep(0 if runner.is_busy else pace.tick)
    finally:
        runner.stop(patience=0)
    with app.database.snapshot() as tx:
        return job_runs.one(tx, run_id)


def _is_open(database: Database, run_id: int) -> bool:
    with database.snapshot() as tx:
        return job_runs.one(tx, run_id).state in job_runs.OPEN
