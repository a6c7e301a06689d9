"""What operators are told, by mail and wherever Apprise posts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.notifications import email
from pipeline.notifications.deliver import Courier
from pipeline.notifications.message import Failed, Notification
from pipeline.notifications.pager import open_apprise


def tell(
    courier: Courier, topic: str, name: str, told: Mapping[str, Any], *, to: str, urls: str,
    setting: str,
) -> list[str]:  # fmt: skip
    """Mail `told` to the addresses `to`, and post it to `urls`, which are from `setting`; who could
    not be told. `name` is this message's own: sent again, a mail has the same Message-ID."""
    addresses = [a.strip() for a in to.split(",") if a.strip()]
    mails = [
        Notification(f"{topic}-{name}-{n}", 0, "", "email", topic, address, told)
        for n, address in enumerate(addresses, 1)
    ]
    delivered = courier.deliver(mails) if mails else []
    failed = [
        f"{mail.target}: {delivery.error}"
        for mail, delivery in zip(mails, delivered, strict=True)
        if isinstance(delivery, Failed)
    ]
    if urls:
        title, body = (email.render(topic, part, told).strip() for part in ("subject.txt", "txt"))
        if not open_apprise(urls, setting).notify(title=title, body=body):
            failed.append(f"{setting}: one of them could not be reached")
    return failed
