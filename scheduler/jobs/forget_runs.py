"""forget-runs: keeps the history of job runs to a month."""

from __future__ import annotations

from pipeline.assembly import Application
from pipeline.storage import job_runs
from scheduler.job import Cron, Job

DAYS = 30


def forget_runs(app: Application) -> dict[str, int]:
    """Delete runs older than a month; how many."""
    with app.database.transaction() as tx:
        return {"forgotten": job_runs.forget(tx, DAYS * 86_400.0)}


JOB = Job("forget-runs", Cron("20 3 * * *"), "keep the history of job runs to a month", forget_runs)
