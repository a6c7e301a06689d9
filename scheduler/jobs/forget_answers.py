"""forget-answers: keeps what was answered under an Idempotency-Key for a week."""

from __future__ import annotations

from pipeline.assembly import Application
from pipeline.storage import idempotency
from scheduler.job import Cron, Job

DAYS = 7


def forget_answers(app: Application) -> dict[str, int]:
    """Delete answers older than a week; how many."""
    with app.database.transaction() as tx:
        return {"forgotten": idempotency.forget(tx, DAYS * 86_400.0)}


JOB = Job(
    "forget-answers",
    Cron("40 3 * * *"),
    "keep what was answered under an Idempotency-Key for a week",
    forget_answers,
)
