"""What is to be done about a job now: a pure decision, from what the table of runs says.

Only a job's latest moment is ever due: those missed while all schedulers were down are caught up
once on return.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scheduler.job import Job

#: After as many attempts that nobody ended, a run has failed.
MOST_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Fire:
    """A moment is due."""

    moment: datetime


@dataclass(frozen=True, slots=True)
class Skip:
    """A moment is due, and left out."""

    moment: datetime


@dataclass(frozen=True, slots=True)
class Start:
    """A run waits: a person has asked for it, or who had it handed it back."""

    run_id: int


@dataclass(frozen=True, slots=True)
class TakeOver:
    """A run's lease ran out."""

    run_id: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """A run's lease ran out, once too often."""

    run_id: int


Action = Fire | Skip | Start | TakeOver | GiveUp


@dataclass(frozen=True, slots=True)
class Seen:
    """What the table says: the time, the runs that are open, each job's latest moment dealt with."""

    at: datetime
    open: Collection[Any]
    latest: Mapping[str, datetime]


def decide(job: Job, seen: Seen) -> Action | None:
    """Pure: what is to be done about `job` now."""
    ours = [run for run in seen.open if run.job == job.name]
    running = next((run for run in ours if run.state == "running"), None)
    if running is not None and running.lapsed:
        spent = running.attempt >= MOST_ATTEMPTS
        return GiveUp(running.id) if spent else TakeOver(running.id)
    moment = job.schedule.latest(seen.at)
    is_due = job.name not in seen.latest or moment > seen.latest[job.name]
    if running is not None:
        return Skip(moment) if is_due and job.overlap == "skip" else None
    if ours:
        return Start(ours[0].id)
    return Fire(moment) if is_due else None
