"""The outbox: notifications as rows become messages, and what became of them becomes rows."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from pipeline.backoff import Backoff
from pipeline.money import to_text
from pipeline.notifications.deliver import Courier
from pipeline.notifications.message import SHIPPED, Channel, Delivered, Delivery, Notification
from pipeline.order import Order
from pipeline.pricing.quote import Quote
from pipeline.redaction import redact_start
from pipeline.storage import fulfilment, notifications, orders, quotes
from pipeline.storage.database import Tx
from pipeline.storage.notifications import Pending
from pipeline.telemetry.metrics import NOTIFICATION_ATTEMPTS

UNDO_FAILED = "order.undo_failed"
REFUND_FAILED = "order.refund_failed"
REFUND_BY_HAND = "order.refund_by_hand"

#: About a day of trying.
BACKOFF, MOST_ATTEMPTS = Backoff(first=1.0, longest=600.0), 150


def wanted(order: Order, topic: str, subject: str = "") -> list[Pending]:
    """Pure: who is mailed, as the source's policy says. Its endpoints are told by `webhooks`."""
    if not (order.source.policy.email and order.email):
        return []
    return [Pending(str(uuid.uuid4()), order.id, "email", topic, order.email, 0, subject)]


def page(tx: Tx, order_ids: Iterable[int], topic: str) -> None:
    """Call a person to these orders, each time anew; sent by the job that delivers notifications."""
    new = []
    for order_id in order_ids:
        name = str(uuid.uuid4())
        new.append(Pending(name, order_id, "page", topic, "operators", 0, name))
    notifications.add(tx, new, lead=0.0)


def messages(tx: Tx, pending: Sequence[Pending], known: Mapping[int, Order]) -> list[Notification]:
    """Rows as messages, with what they say; `known` saves reading those orders again."""
    order_ids = sorted({n.order_id for n in pending})
    missing = [i for i in order_ids if i not in known]
    found = dict(known)
    if missing:
        found |= {loaded.order.id: loaded.order for loaded in orders.load(tx, missing)}
    quoted = quotes.read(tx, order_ids)
    shipped = [int(n.subject) for n in pending if n.topic == SHIPPED]
    shipments = fulfilment.shipments_by_id(tx, shipped) if shipped else {}
    return [
        Notification(
            n.id,
            n.order_id,
            found[n.order_id].source.name,
            cast(Channel, n.channel),
            n.topic,
            n.target,
            _payload(found[n.order_id], quoted[n.order_id])
            | ({"shipment": shipments[int(n.subject)]} if n.topic == SHIPPED else {}),
        )
        for n in pending
    ]


def deliver(
    courier: Courier, pending: Sequence[Pending], messages: Sequence[Notification]
) -> list[Delivery]:
    """Deliver rows as the messages they are; one result for each, in input order."""
    deliveries = courier.deliver(messages) if messages else []
    for n, delivery in zip(pending, deliveries, strict=True):
        attempt = "again" if n.attempts else "first"
        NOTIFICATION_ATTEMPTS.labels(n.channel, attempt, _state(n, delivery)).inc()
    return deliveries


def write(tx: Tx, pending: Sequence[Pending], deliveries: Sequence[Delivery]) -> None:
    """Write what became of each delivery; a failed one is tried again, later and later."""
    results = [_result(n, delivery) for n, delivery in zip(pending, deliveries, strict=True)]
    notifications.settle(tx, results)


def _result(pending: Pending, delivery: Delivery) -> tuple[str, str, float, str | None]:
    state = _state(pending, delivery)
    error = None if isinstance(delivery, Delivered) else redact_start(delivery.error, 255)
    delay = BACKOFF.after(pending.attempts + 1) if state == "pending" else 0.0
    return pending.id, state, delay, error


def _state(pending: Pending, delivery: Delivery) -> str:
    if isinstance(delivery, Delivered):
        return "delivered"
    return "failed" if pending.attempts + 1 >= MOST_ATTEMPTS else "pending"


def _discount(quote: Quote) -> int:
    return sum(line.discount for line in quote.lines) + (
        quote.shipping.discount if quote.shipping else 0
    )


def _payload(order: Order, quote: Quote) -> dict[str, Any]:
    def text(minor: int) -> str:
        return to_text(minor, order.currency)

    shipping = quote.shipping
    return {
        "order_id": order.id,
        "external_id": order.external_id,
        "customer_name": order.document["customer"].get("name"),
        "currency": order.currency,
        "lines": [
            {
                "sku": line.sku,
                "quantity": line.quantity,
                "discount": text(line.discount),
                "net": text(line.net),
                "gross": text(line.gross),
            }
            for line in quote.lines
        ],
        "shipping": shipping
        and {
            "method": shipping.method,
            "discount": text(shipping.discount),
            "net": text(shipping.net),
            "gross": text(shipping.gross),
        },
        "totals": {
            "net": text(quote.net),
            "tax": text(quote.tax),
            "shipping": text(shipping.gross if shipping else 0),
            "discount": text(_discount(quote)),
            "gross": text(quote.total),
        },
    }
