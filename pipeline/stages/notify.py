"""notify: → confirmed. The customer and the upstream system are told.

In:  an order that is paid and reserved.
Out: Advance, always: it is confirmed whether or not an endpoint listens today. What could not be
     delivered stays in the outbox, and a scheduled job tries it again under the same id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.notifications import outbox
from pipeline.notifications.deliver import Courier
from pipeline.notifications.message import CONFIRMED, Delivered, Delivery, Notification
from pipeline.order import Order
from pipeline.outcome import Advance, Outcome
from pipeline.stages.step import Step
from pipeline.storage import notifications
from pipeline.storage.database import Tx
from pipeline.storage.notifications import Pending


@dataclass(frozen=True, slots=True)
class Letters:
    """Rows of the outbox and the messages they are, in the same order."""

    pending: list[Pending]
    messages: list[Notification]


@dataclass(frozen=True, slots=True)
class Sent:
    pending: list[Pending]
    deliveries: list[Delivery]


class Notify(Step[Letters, Sent]):
    def __init__(self, courier: Courier) -> None:
        self.courier = courier

    def intend(self, tx: Tx, orders: Sequence[Order]) -> Letters:
        new = [letter for order in orders for letter in outbox.wanted(order, CONFIRMED)]
        if not new:
            return Letters([], [])
        notifications.add(tx, new)
        pending = notifications.pending_of(tx, [order.id for order in orders])
        return Letters(pending, outbox.messages(tx, pending, {o.id: o for o in orders}))

    def call(self, plan: Letters) -> Sent:
        return Sent(plan.pending, outbox.deliver(self.courier, plan.pending, plan.messages))

    def settle(self, tx: Tx, orders: Sequence[Order], findings: Sent) -> list[Outcome]:
        outbox.write(tx, findings.pending, findings.deliveries)
        told = {order.id: 0 for order in orders}
        for letter, delivery in zip(findings.pending, findings.deliveries, strict=True):
            told[letter.order_id] += isinstance(delivery, Delivered)
        return [Advance({"delivered": told[order.id]}) for order in orders]
