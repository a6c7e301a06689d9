"""Upstream systems: they send orders, and send them again until they hold a receipt."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from pipeline.assembly import Application
from pipeline.intake.accept import Receipt, Verdict
from pipeline.source import Source
from pipeline.storage import sources
from tests.chaos.home import COUPON, LAST_ONES, MUG, SOURCES, TEE

PATIENCE = 0.1
SENDERS = 4
#: Share of orders that are sent once more although their receipt has come.
SENT_TWICE = 0.05

#: Payment methods and how many of a hundred orders use each. The slow ones keep whole batches in
#: hand for two seconds, so that a kill finds work in mid-payment.
METHODS = {
    "pm_card_visa": 90, "pm_slow": 2, "pm_timeout_before": 2, "pm_timeout_after": 2,
    "pm_error_500": 1, "pm_rate_limited": 1, "pm_card_declined": 2,
}  # fmt: skip
#: Share of orders with a coupon; twice as many as it may be used by.
WITH_COUPON = 0.04
BASKETS = {((MUG, 2),): 70, ((MUG, 1), (TEE, 1), (MUG, 1)): 26, ((LAST_ONES, 1),): 4}


@dataclass(frozen=True, slots=True)
class Sending:
    """An order to be sent `at` so many seconds after the start."""

    at: float
    source: Source
    order: dict[str, Any]
    twice: bool


@dataclass(slots=True)
class Feeder:
    """Sends `orders` at an even pace over `seconds`.

    `receipts`: order ids by external id, of all that were accepted. `wrong`: receipts that
    contradict what the sender knows. `resent`: how often the answer was an error.
    """

    app: Application
    orders: int
    seconds: float
    dice: random.Random
    receipts: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    resent: int = 0
    _senders: list[Future[None]] = field(default_factory=list)

    def start(self) -> None:
        sendings = self._sendings()
        begun = time.monotonic()
        pool = ThreadPoolExecutor(SENDERS, thread_name_prefix="sender")
        self._senders = [
            pool.submit(self._send_all, sendings[n::SENDERS], begun) for n in range(SENDERS)
        ]
        pool.shutdown(wait=False)

    def join(self) -> None:
        """Wait until all are sent; raises what a sender met that no sender should."""
        for sender in self._senders:
            sender.result()

    def _sendings(self) -> list[Sending]:
        with self.app.database.transaction() as tx:
            known = [sources.by_name(tx, name) for name in SOURCES]
        return [
            Sending(
                n * self.seconds / self.orders,
                self.dice.choice(known),
                self._order(n),
                self.dice.random() < SENT_TWICE,
            )
            for n in range(self.orders)
        ]

    def _order(self, n: int) -> dict[str, Any]:
        (method,) = self.dice.choices(list(METHODS), weights=METHODS.values())
        (basket,) = self.dice.choices(list(BASKETS), weights=BASKETS.values())
        return {
            "external_id": f"chaos-{n}",
            "currency": "EUR",
            "customer": {"email": "ada@example.com", "name": "Ada"},
            "ship_to": {"country": "DE", "postal_code": "10115"},
            "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in basket],
            "payment": {"method": method},
            "coupons": [COUPON] if self.dice.random() < WITH_COUPON else [],
        }

    def _send_all(self, sendings: Sequence[Sending], begun: float) -> None:
        for sending in sendings:
            time.sleep(max(0.0, begun + sending.at - time.monotonic()))
            receipt, is_doubtful = self._send(sending)
            expected = {Verdict.ACCEPTED, Verdict.DUPLICATE} if is_doubtful else {Verdict.ACCEPTED}
            self._keep(receipt, expected)
            if sending.twice:
                self._keep(self._send(sending)[0], {Verdict.DUPLICATE})

    def _send(self, sending: Sending) -> tuple[Receipt, bool]:
        """Until an answer comes; and whether an earlier answer was lost, so that a duplicate is right."""
        is_doubtful = False
        while True:
            try:
                return self.app.intake.accept(sending.source, sending.order), is_doubtful
            except Exception as error:
                if not self.app.database.is_disconnect(error):
                    raise
                self.resent += 1
                is_doubtful = True
                time.sleep(PATIENCE)

    def _keep(self, receipt: Receipt, expected: set[Verdict]) -> None:
        name = receipt.external_id
        if receipt.verdict not in expected or receipt.order_id is None or name is None:
            self.wrong.append(f"{name} was answered {receipt}")
        elif self.receipts.setdefault(name, receipt.order_id) != receipt.order_id:
            self.wrong.append(f"{name} has two ids")
