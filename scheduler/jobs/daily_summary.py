"""daily-summary: what yesterday (UTC) brought, by source; mailed and posted where that is set."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pipeline.assembly import Application
from pipeline.errors import DeliveryFailed
from pipeline.money import to_text
from pipeline.notifications import email
from pipeline.notifications.message import Failed, Notification
from pipeline.notifications.pager import open_apprise
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
    failed = [*_mail(app, told), *_post(app, told)]
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


def _mail(app: Application, told: Mapping[str, Any]) -> list[str]:
    """To each address; what failed. Sent again, a mail has the same Message-ID."""
    addresses = [a.strip() for a in app.settings.summary_to.split(",") if a.strip()]
    mails = [
        Notification(f"{TOPIC}-{told['day']}-{n}", 0, "", "email", TOPIC, address, told)
        for n, address in enumerate(addresses, 1)
    ]
    delivered = app.courier.deliver(mails) if mails else []
    return [
        f"{mail.target}: {delivery.error}"
        for mail, delivery in zip(mails, delivered, strict=True)
        if isinstance(delivery, Failed)
    ]


def _post(app: Application, told: Mapping[str, Any]) -> list[str]:
    urls = app.settings.summary_urls.get_secret_value()
    if not urls:
        return []
    title, body = (email.render(TOPIC, part, told).strip() for part in ("subject.txt", "txt"))
    posted = open_apprise(urls, "ORDERMILL_SUMMARY_URLS").notify(title=title, body=body)
    return [] if posted else ["ORDERMILL_SUMMARY_URLS: one of them could not be reached"]


JOB = Job(
    "daily-summary", Cron("0 5 * * *"), "tell what yesterday brought, by source", daily_summary
)
