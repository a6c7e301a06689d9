"""deliver-notifications: tries again what the notify stage could not deliver."""

from __future__ import annotations

from pipeline.assembly import Application
from pipeline.notifications import outbox
from pipeline.notifications.message import Delivered
from pipeline.storage import notifications
from scheduler.job import Every, Job

MOST = 500
#: Longer than a delivery may take: meanwhile nobody else tries the same.
TAKEN_FOR = 120.0


def deliver_notifications(app: Application) -> dict[str, int]:
    """Deliver what is due, a bounded batch at a time; how many were tried, delivered, and withdrawn
    as they don't hold any more."""
    tried = delivered = withdrawn = 0
    while True:
        with app.database.transaction() as tx:
            pending, over = notifications.take_due(tx, MOST, TAKEN_FOR)
            messages = outbox.messages(tx, pending, {}) if pending else []
        if not pending and not over:
            return {"tried": tried, "delivered": delivered, "withdrawn": withdrawn}
        deliveries = outbox.deliver(app.courier, pending, messages)
        with app.database.transaction() as tx:
            outbox.write(tx, pending, deliveries)
        tried, withdrawn = tried + len(pending), withdrawn + over
        delivered += sum(isinstance(d, Delivered) for d in deliveries)


JOB = Job(
    "deliver-notifications", Every(10), "try again what could not be delivered",
    deliver_notifications, when_asked=notifications.hasten,
)  # fmt: skip
