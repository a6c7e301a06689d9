"""daily-summary: what yesterday (UTC) brought, by source; mailed and posted where that is set."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pipeline.assembly import Application
from pipeline.errors import DeliveryFailed
from pipeline.money import to_text
from pipeline.notifications.broadcast import tell
from pipeline.order import Status
from pipeline.storage import clock, sources
from pipeline.storage import daily_summary as storage
from pipeline.storage.database import Tx
from scheduler.job import Cron, Job

TOPIC = "summary.daily"
_MOVED = {"capture": "captured", "refund": "refunded"}


def daily_summary(app: Application) -> dict[str, Any]:
    """Yesterday's summary, delivered to whoever is to have it; DeliveryFailed says who has not."""
    with app.database.snapshot() as tx:
        today = clock.read(tx).replace(hour=0, minute=0, second=0, microsecond=0)
        told = summary(tx, today - timedelta(days=1), today)
    settings = app.settings
    failed = tell(
        app.courier, TOPIC, told["day"], told, to=settings.summary_to,
        urls=settings.summary_urls.get_secret_value(), setting="ORDERMILL_SUMMARY_URLS",
    )  # fmt: skip
    if failed:
        raise DeliveryFailed(f"the summary of {told['day']} is not delivered: {'; '.join(failed)}")
    return told


def summary(tx: Tx, since: datetime, until: datetime) -> dict[str, Any]:
    """`day`, `orders`, `on_hold` and `sources`: each with its `name`, `orders` in, `confirmed`,
    `rejected` and `cancelled` by reason, `on_hold` by reason (`orders`, `oldest`), `captured` and
    `refunded` by currency, as text."""
    known = sources.all_sources(tx)
    accepted = storage.accepted(tx, since, until)
    told: dict[int, dict[str, Any]] = {
        i: {"name": source.name, "orders": accepted.get(i, 0), "confirmed": 0, "rejected": {},
            "cancelled": {}, "on_hold": {}, "captured": {}, "refunded": {}}
        for i, source in known.items()
    }  # fmt: skip
    for row in storage.states(tx, since, until):
        _count(told[row.source_id], row)
    for row in storage.money(tx, since, until):
        moved = told[row.source_id][_MOVED[row.kind]]
        moved[row.currency] = to_text(int(row.amount), row.currency)
    held = [held for source in told.values() for held in source["on_hold"].values()]
    return {
        "day": f"{since:%Y-%m-%d}",
        "orders": sum(accepted.values()),
        "on_hold": sum(h["orders"] for h in held),
        "sources": list(told.values()),
    }


def _count(source: dict[str, Any], row: Any) -> None:
    reason = row.reason or "no reason"
    match Status(row.status):
        case Status.CONFIRMED:
            source["confirmed"] += row.orders
        case Status.ON_HOLD:
            oldest = f"{row.oldest:%Y-%m-%d %H:%M}"
            source["on_hold"][reason] = {"orders": row.orders, "oldest": oldest}
        case ended:
            source[ended.value][reason] = row.orders


JOB = Job(
    "daily-summary", Cron("0 5 * * *"), "tell what yesterday brought, by source", daily_summary
)
