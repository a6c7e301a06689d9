"""alert-dead-webhooks: tells once of each endpoint that was disabled because it was found dead."""

from __future__ import annotations

import logging
from typing import Any

from pipeline.assembly import Application
from pipeline.errors import DeliveryFailed
from pipeline.notifications.broadcast import tell
from pipeline.storage import clock, webhooks
from pipeline.webhooks.endpoints import host
from scheduler.job import Cron, Job

log = logging.getLogger(__name__)

TOPIC = "webhook.disabled"


def alert_dead_webhooks(app: Application) -> dict[str, Any]:
    """How many nobody had been told of. DeliveryFailed says who was not told: then it is told to all
    again. So it is if we die before it is written that they were."""
    with app.database.snapshot() as tx:
        now, dead = clock.read(tx), webhooks.untold(tx)
    if not dead:
        return {"new": 0}
    for endpoint in dead:
        log.error(
            "webhook endpoint %s of %s is disabled: %s",
            endpoint.id, endpoint.source, endpoint.disabled_why,
        )  # fmt: skip
    told = {
        "endpoints": [
            {"id": e.id, "source": e.source, "host": host(e.url), "why": e.disabled_why}
            for e in dead
        ]
    }
    settings = app.settings
    failed = tell(
        app.courier, TOPIC, f"{now:%Y%m%dT%H%M%S}", told, to=settings.alerts_to,
        urls=settings.alerts.get_secret_value(), setting="ORDERMILL_ALERTS",
    )  # fmt: skip
    if failed:
        raise DeliveryFailed(f"not everybody was told of {len(dead)}: {'; '.join(failed)}")
    with app.database.transaction() as tx:
        webhooks.tell(tx, (endpoint.id for endpoint in dead))
    return {"new": len(dead)}


JOB = Job(
    "alert-dead-webhooks",
    Cron("*/5 * * * *"),
    "tell of webhook endpoints that were disabled as nothing got there",
    alert_dead_webhooks,
)
