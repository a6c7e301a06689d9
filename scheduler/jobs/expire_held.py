"""expire-held: cancels orders that were on hold for longer than their source's policy lets them."""

from __future__ import annotations

from pipeline import operations
from pipeline.assembly import Application
from pipeline.storage import sources
from scheduler.job import Cron, Job

ACTOR = "expire-held"
#: Orders cancelled in one transaction, and transactions in one run: the next run does the rest.
MOST, SETS = 500, 100


def expire_held(app: Application) -> dict[str, int]:
    """Cancel orders whose time on hold is over, a bounded set at a time; how many."""
    with app.database.snapshot() as tx:
        policies = {i: s.policy.hold_expires_after for i, s in sources.all_sources(tx).items()}
    limits = {i: float(seconds) for i, seconds in policies.items() if seconds is not None}
    cancelled = 0
    for _ in range(SETS if limits else 0):
        with app.database.transaction() as tx:
            done, announcements = operations.expire_held(tx, limits, MOST, ACTOR)
        app.engine.announce(announcements)
        cancelled += done
        if done < MOST:
            break
    return {"cancelled": cancelled}


JOB = Job(
    "expire-held",
    Cron("*/10 * * * *"),
    "cancel orders on hold for longer than their source's hold_expires_after",
    expire_held,
)
