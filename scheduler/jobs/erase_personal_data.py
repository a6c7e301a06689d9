"""erase-personal-data: forgets who ordered, once that has been over for as long as the source says."""

from __future__ import annotations

from pipeline.assembly import Application
from pipeline.retention import Pace, due, erase_all
from scheduler.job import Cron, Job

ACTOR = "erase-personal-data"
#: Seconds after which nothing more is begun: the next day does the rest.
SECONDS = 6 * 3600.0


def erase_personal_data(app: Application) -> dict[str, int]:
    """Erase what is due, live and archived, leaving room for orders that are on their way."""
    with app.database.snapshot() as tx:
        found = due(tx, "erase_after")
    mails = app.settings.mails
    return {"erased": erase_all(app.database, found, Pace(seconds=SECONDS), mails, ACTOR)}


JOB = Job(
    "erase-personal-data",
    Cron("30 2 * * *"),
    "forget who ordered, once that has been over for its source's erase_after",
    erase_personal_data,
    time_limit=SECONDS + 600.0,
)
