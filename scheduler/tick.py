"""The tick: each due moment of each job is run once, whoever notices it first.

There is no leader. Every scheduler computes the same due moment and inserts (job, moment); the
database lets one of them. A moment missed while all were down is caught up once on return.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.assembly import Application
from pipeline.redaction import describe
from pipeline.storage import clock, job_runs
from scheduler.table import Job

log = logging.getLogger(__name__)


def due_moment(job: Job, at: datetime) -> datetime:
    """The latest moment at or before `at` when `job` is due."""
    return datetime.fromtimestamp(int(at.timestamp()) // job.every * job.every, UTC)


def tick(app: Application, job: Job) -> bool:
    """Run `job` if its latest due moment is still to be run; whether we did."""
    with app.database.transaction() as tx:
        moment = due_moment(job, clock.read(tx))  # the database's clock: hosts may disagree
        if not job_runs.begin(tx, job.name, moment, whoami()):
            return False
    run(app, job, moment)
    return True


@dataclass(frozen=True, slots=True)
class Finished:
    """How a run ended: a result (JSON), or an error."""

    result: str | None
    error: str | None


def run(app: Application, job: Job, moment: datetime) -> Finished:
    """Run `job` for a moment already begun, and write how it ended."""
    try:
        finished = Finished(json.dumps(job.run(app)), None)
    except Exception as failure:
        log.exception("job %s failed", job.name)
        finished = Finished(None, describe(failure))
    with app.database.transaction() as tx:
        job_runs.finish(tx, job.name, moment, finished.result, finished.error)
    return finished


def run_now(app: Application, job: Job) -> Finished:
    """Run `job` at a person's word, whatever its schedule."""
    with app.database.transaction() as tx:
        moment = clock.read(tx)
        job_runs.begin(tx, job.name, moment, whoami())
    return run(app, job, moment)


def whoami() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
