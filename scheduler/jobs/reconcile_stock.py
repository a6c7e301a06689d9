"""reconcile-stock: the stock's books beside themselves, and beside what was counted."""

from __future__ import annotations

import logging
from typing import Any

from pipeline.assembly import Application
from pipeline.errors import FeedAway
from pipeline.stock_reconciliation.act import Plan
from pipeline.stock_reconciliation.configured import reconcile_configured
from pipeline.stock_reconciliation.report import summary
from scheduler.job import Cron, Job

log = logging.getLogger(__name__)


def reconcile_stock(app: Application) -> dict[str, Any]:
    """Compare, act by the policy of the settings; the figures. FeedAway, when all else is done, if
    the feed is away."""
    settings = app.settings
    plan = Plan(settings.stock_policy, settings.stock_tolerance)
    found = reconcile_configured(app.database, settings, plan)
    told = summary(found)
    if found.new:
        log.error("%d new differences: `ordermill stock reconcile`", found.new)
    if found.away:
        raise FeedAway(f"{found.away}; of the rest: {told}")
    return told


JOB = Job(
    "reconcile-stock",
    Cron("20 * * * *"),
    "compare the stock's books with themselves, and with what was counted",
    reconcile_stock,
    time_limit=3000.0,
    finds_problem=lambda told: bool(told["new"] or told["rejected"] or told["refused"]),
)
