"""forget-deliveries: keeps what was delivered to webhooks, and the log of attempts, for a month."""

from __future__ import annotations

from pipeline.assembly import Application
from pipeline.storage import webhook_deliveries
from scheduler.job import Cron, Job

#: Less than an order stays as it is once it is over: until then its events are there to be sent.
DAYS = 30
#: Deleted in one transaction.
MOST = 5_000


def forget_deliveries(app: Application) -> dict[str, int]:
    """Delete deliveries last due more than a month ago, a bounded set at a time; how many."""
    forgotten = 0
    while True:
        with app.database.transaction() as tx:
            done = webhook_deliveries.forget(tx, DAYS * 86_400.0, MOST)
        forgotten += done
        if done < MOST:
            return {"forgotten": forgotten}


JOB = Job(
    "forget-deliveries",
    Cron("50 3 * * *"),
    "keep deliveries to webhooks, and the log of attempts, for a month",
    forget_deliveries,
)
