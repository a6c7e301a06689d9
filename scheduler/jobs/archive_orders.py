"""archive-orders: moves orders into the archive that have been over for as long as their source says."""

from __future__ import annotations

from pipeline.assembly import Application
from pipeline.retention import Pace, archive_all, due
from scheduler.job import Cron, Job

#: Seconds after which nothing more is begun: the next day does the rest.
SECONDS = 6 * 3600.0


def archive_orders(app: Application) -> dict[str, int]:
    """Move what is due, leaving room for orders that are on their way; how many."""
    with app.database.snapshot() as tx:
        found = due(tx, "archive_after")
    return {"archived": archive_all(app.database, found, Pace(seconds=SECONDS))}


JOB = Job(
    "archive-orders",
    Cron("30 1 * * *"),
    "move orders into the archive that have been over for their source's archive_after",
    archive_orders,
    time_limit=SECONDS + 600.0,
)
