"""roll-up-counters: keeps the counters behind the charts to a row an hour, later a row a day."""

from __future__ import annotations

from pipeline.assembly import Application
from pipeline.storage import counters
from pipeline.storage.counters import Unit
from scheduler.job import Cron, Job

DAY = 86_400.0
#: Older than so many seconds: one row an hour, or a day, for each step and outcome.
AGES: dict[Unit, float] = {"hour": 2 * DAY, "day": 90 * DAY}


def roll_up_counters(app: Application) -> dict[str, int]:
    """Roll up whatever is old enough; how many rows went, and came instead."""
    went = came = 0
    for unit, seconds in AGES.items():
        # A transaction each: whoever dies on the way leaves whole hours.
        while (done := _roll_up(app, unit, seconds)) is not None:
            went, came = went + done[0], came + done[1]
    return {"went": went, "came": came}


def _roll_up(app: Application, unit: Unit, seconds: float) -> tuple[int, int] | None:
    with app.database.transaction() as tx:
        return counters.roll_up(tx, unit, seconds)


JOB = Job(
    "roll-up-counters",
    Cron("40 * * * *"),
    "keep counters older than two days by the hour, than 90 days by the day",
    roll_up_counters,
)
