"""settle-payments: does what was asked for after the sale and is not done yet."""

from __future__ import annotations

from collections import Counter

from pipeline.assembly import Application
from scheduler.job import Every, Job


def settle_payments(app: Application) -> dict[str, int]:
    """Do the payment tasks that are due; how many operations now stand how."""
    return dict(Counter(operation.state for operation in app.payment_tasks.run()))


JOB = Job(
    "settle-payments",
    Every(10),
    "do refunds and captures that were asked for and are not done yet",
    settle_payments,
)
