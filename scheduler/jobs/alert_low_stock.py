"""alert-low-stock: tells once of each product that has run low, and again only after it recovered."""

from __future__ import annotations

import logging
from typing import Any

from pipeline.assembly import Application
from pipeline.errors import DeliveryFailed
from pipeline.notifications.broadcast import tell
from pipeline.storage import clock, stock_alerts, stock_ledger
from scheduler.job import Cron, Job

log = logging.getLogger(__name__)

TOPIC = "stock.low"
#: Products named in one message.
MOST_NAMED = 100


def alert_low_stock(app: Application) -> dict[str, Any]:
    """How many are low, how many of them nobody had been told of. DeliveryFailed says who was not
    told: then it is told to all again. So it is if we die before it is written that they were."""
    with app.database.transaction() as tx:
        now = clock.read(tx)
        low = stock_ledger.low(tx)
        known = stock_alerts.told(tx)
        stock_alerts.recover(tx, known - {product["sku"] for product in low})
    new = [product for product in low if product["sku"] not in known]
    if not new:
        return {"low": len(low), "new": 0}
    log.warning("run low: %d products: `ordermill stock low`", len(new))
    told = {"products": new[:MOST_NAMED], "count": len(new), "more": len(new[MOST_NAMED:])}
    settings = app.settings
    failed = tell(
        app.courier, TOPIC, f"{now:%Y%m%dT%H%M%S}", told, to=settings.alerts_to,
        urls=settings.alerts.get_secret_value(), setting="ORDERMILL_ALERTS",
    )  # fmt: skip
    if failed:
        raise DeliveryFailed(f"not everybody was told of {len(new)} products: {'; '.join(failed)}")
    with app.database.transaction() as tx:
        stock_alerts.tell(tx, (product["sku"] for product in new))
    return {"low": len(low), "new": len(new)}


JOB = Job(
    "alert-low-stock",
    Cron("*/10 * * * *"),
    "tell of products that have fallen to their reorder point",
    alert_low_stock,
)
