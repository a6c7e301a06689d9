"""The table of jobs. Adding one is a file in `jobs/` and a line here. Schedules are UTC."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.assembly import Application
from scheduler.jobs.deliver_notifications import deliver_notifications
from scheduler.jobs.forget_runs import forget_runs
from scheduler.jobs.poll_gateways import poll_gateways
from scheduler.jobs.reconcile_payments import reconcile_payments
from scheduler.jobs.settle_payments import settle_payments

Run = Callable[[Application], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Job:
    """`every` seconds, at whole multiples of it since the epoch: the same moments on every host."""

    name: str
    every: int
    description: str
    run: Run


JOBS = {
    job.name: job
    for job in (
        Job(
            "deliver-notifications",
            10,
            "try again what could not be delivered",
            deliver_notifications,
        ),
        Job(
            "settle-payments",
            10,
            "do refunds and captures that were asked for and are not done yet",
            settle_payments,
        ),
        Job("poll-gateways", 60, "read gateways' lists of events", poll_gateways),
        Job(
            "reconcile-payments",
            3_600,
            "compare our payment operations with the gateways' own lists",
            reconcile_payments,
        ),
        Job("forget-runs", 86_400, "keep the history of job runs to a month", forget_runs),
    )
}
