"""forget-messages: keeps the bytes of messages that can't be read for a week."""

from __future__ import annotations

from pipeline.assembly import Application
from pipeline.storage import refusals
from scheduler.job import Cron, Job

DAYS = 7


def forget_messages(app: Application) -> dict[str, int]:
    """Forget what was in messages that were put aside more than a week ago; how many. That they were
    stays in the list of refusals."""
    with app.database.transaction() as tx:
        return {"forgotten": refusals.forget_messages(tx, DAYS * 86_400.0)}


JOB = Job(
    "forget-messages",
    Cron("30 3 * * *"),
    "keep the bytes of messages that can't be read for a week",
    forget_messages,
)
