"""reconcile-payments: our operations beside the gateways' own lists. It reports, and corrects nothing."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from pipeline.assembly import Application
from pipeline.errors import GatewayAway
from pipeline.payments.gateway_list import keeps_list
from pipeline.payments.reconcile import UNDER_WAY, reconcile
from pipeline.storage import clock, reconciliation
from scheduler.job import Every, Job

log = logging.getLogger(__name__)

LOOK_BACK = timedelta(days=2)
#: Differences of old are looked at again until they are cleared, but not for ever.
LOOK_BACK_AT_MOST = timedelta(days=30)


def reconcile_payments(app: Application) -> dict[str, Any]:
    """Compare the last two days until an hour ago at each gateway, and as far back as a difference
    is open; how many there are, by gateway. GatewayAway, when all are done, if one was."""
    told: dict[str, Any] = {}
    away: list[str] = []
    for name, gateway in app.gateways.items():
        if not keeps_list(gateway):
            continue
        since, now = _window(app, name)
        try:
            run = reconcile(app.database, gateway, since, now)
        except GatewayAway as error:
            away.append(f"{name}: {error}")
            continue
        told[name] = {"differences": run.total, "new": run.new, "cleared": run.cleared}
        if run.new:
            log.error("%s: %d new differences: `ordermill payments reconcile`", name, run.new)
    if away:
        raise GatewayAway(f"{'; '.join(away)}; of the others: {told}")
    return told


def _window(app: Application, gateway: str) -> tuple[datetime, datetime]:
    with app.database.snapshot() as tx:
        now = clock.read(tx)
        oldest = reconciliation.oldest(tx, gateway)
    since = now - UNDER_WAY - LOOK_BACK
    if oldest is not None:
        since = max(min(since, oldest), now - LOOK_BACK_AT_MOST)
    return since, now


JOB = Job(
    "reconcile-payments",
    Every(3600),
    "compare our payment operations with the gateways' own lists",
    reconcile_payments,
    time_limit=3000.0,
    finds_problem=lambda told: any(gateway["differences"] for gateway in told.values()),
)
