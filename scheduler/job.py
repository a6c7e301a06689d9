"""A job: what is run, when, for how long at most, and what if it is still running when next due."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

from cronsim import CronSim

from pipeline.assembly import Application
from pipeline.storage import job_runs
from pipeline.storage.database import Tx

#: Does the work, all of it again if it must: a run that dies is run again. Returns what it did, as
#: JSON. What it writes by `app.database` is refused once the run has been taken over; what gateways
#: answer is written whoever asked, under the guards of the payments themselves.
Run = Callable[[Application], Mapping[str, Any]]


class Schedule(Protocol):
    """The moments when a job is due: the same on every host, in UTC."""

    def latest(self, at: datetime) -> datetime:
        """The last moment at or before `at`."""

    def following(self, at: datetime) -> datetime:
        """The first moment after `at`."""


@dataclass(frozen=True, slots=True)
class Every:
    """Every so many seconds, at whole multiples of them since the epoch."""

    seconds: int

    def latest(self, at: datetime) -> datetime:
        return datetime.fromtimestamp(int(at.timestamp()) // self.seconds * self.seconds, UTC)

    def following(self, at: datetime) -> datetime:
        return self.latest(at) + timedelta(seconds=self.seconds)

    def __str__(self) -> str:
        return f"every {self.seconds} s"


@dataclass(frozen=True, slots=True)
class Cron:
    """By a cron expression of five fields, in UTC; CronSimError at once if it is none."""

    expression: str

    def __post_init__(self) -> None:
        CronSim(self.expression, datetime.now(UTC))

    def latest(self, at: datetime) -> datetime:
        # Backwards it names moments before the minute that it is given.
        this_minute = at.astimezone(UTC).replace(second=0, microsecond=0)
        return next(CronSim(self.expression, this_minute + timedelta(minutes=1), reverse=True))

    def following(self, at: datetime) -> datetime:
        return next(CronSim(self.expression, at.astimezone(UTC)))

    def __str__(self) -> str:
        return self.expression


def _nothing(_tx: Tx) -> None:
    pass


def _never(_result: Mapping[str, Any]) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Job:
    """`time_limit` in seconds: who takes longer is taken for hung, and the run is taken over.

    `overlap` says what becomes of a moment that comes while the job is running: it is left out, or
    run after (several such moments once). `finds_problem` tells from the result whether a person
    should look. `when_asked` is done in the transaction in which a person asks for a run.
    """

    name: str
    schedule: Schedule
    description: str
    run: Run
    time_limit: float = 600.0
    overlap: Literal["skip", "after"] = "skip"
    finds_problem: Callable[[Mapping[str, Any]], bool] = _never
    when_asked: Callable[[Tx], None] = _nothing

    def ask(self, tx: Tx, asked_by: str) -> int:
        """Let it run beside its schedule, as soon as somebody takes it; the run's number."""
        self.when_asked(tx)
        return job_runs.ask(tx, self.name, asked_by)
