"""Upstream systems: they send orders one by one and in bulk, and again until they hold a receipt."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx

from tests.chaos.caller import Caller, NeverAnsweredError
from tests.chaos.journal import Journal
from tests.chaos.shop import COUPON, LAST_ONES, MUG, ONCE, SCARCE, SOURCES, TEE

SENDERS = 4
PATIENCE = 0.3
#: Share of orders that come in bulk, and how many at once.
IN_BULK, BATCH = 0.5, (50, 250)
#: Share of orders that are sent by two at once; and once more with another content.
SENT_TWICE, CONFLICTING = 0.05, 0.01
#: Share of batches that their sender cuts off in the middle.
CUT_OFF = 0.1

#: Payment methods and how many of a hundred orders use each. The slow ones keep whole batches in
#: hand for two seconds, so that a kill finds work in mid-payment.
METHODS = {
    "pm_card_visa": 90, "pm_slow": 2, "pm_timeout_before": 2, "pm_timeout_after": 2,
    "pm_error_500": 1, "pm_rate_limited": 1, "pm_card_declined": 2,
}  # fmt: skip
BASKETS = {
    ((MUG, 2),): 60, ((MUG, 1), (TEE, 1), (MUG, 1)): 26, ((LAST_ONES, 1),): 4,
    ((SCARCE[0], 1),): 3, ((SCARCE[1], 2), (MUG, 1)): 3, ((SCARCE[0], 1), (SCARCE[1], 1)): 2,
    ((TEE, 10),): 2,
}  # fmt: skip
#: Of a hundred orders; COUPON is given twice as often as it may be used.
COUPONS = {(): 92, (COUPON,): 4, (ONCE,): 4}
#: Customers; so few that one who uses ONCE tries it again.
CUSTOMERS = 200


@dataclass(frozen=True, slots=True)
class Sending:
    """An order to be sent `at` so many seconds after the start."""

    at: float
    source: str
    order: dict[str, Any]
    twice: bool
    conflicts: bool


@dataclass(slots=True)
class Feeder:
    """Sends `orders` at an even pace over `seconds`, with one caller a source."""

    callers: Mapping[str, Caller]
    journal: Journal
    orders: int
    seconds: float
    dice: random.Random
    over: threading.Event
    _numbers: Iterator[int] = field(default_factory=count)
    _known: dict[str, int] = field(default_factory=dict)
    _accepted: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _senders: list[Future[None]] = field(default_factory=list)

    def start(self) -> None:
        in_bulk = round(self.orders * IN_BULK)
        singles = [self._sending(n, self.orders - in_bulk) for n in range(self.orders - in_bulk)]
        batches = list(self._batches(in_bulk))
        begun = time.monotonic()
        pool = ThreadPoolExecutor(SENDERS + 1, thread_name_prefix="sender")
        self._senders = [
            pool.submit(self._send_all, singles[n::SENDERS], begun) for n in range(SENDERS)
        ]
        self._senders.append(pool.submit(self._send_batches, batches, begun))
        pool.shutdown(wait=False)

    def join(self) -> None:
        """Wait until all are sent; raises what a sender met that no sender should."""
        for sender in self._senders:
            sender.result()

    @property
    def is_over(self) -> bool:
        return all(sender.done() for sender in self._senders)

    def _sending(self, n: int, of: int) -> Sending:
        return Sending(
            n * self.seconds / of,
            self.dice.choice(list(SOURCES)),
            self._order(),
            self.dice.random() < SENT_TWICE,
            self.dice.random() < CONFLICTING,
        )

    def _batches(self, orders: int) -> Iterator[tuple[float, str, bool, list[dict[str, Any]]]]:
        left = orders
        while left:
            size = min(left, self.dice.randint(*BATCH), max(1, orders // 4))
            at = (orders - left) * self.seconds / orders
            is_cut = self.dice.random() < CUT_OFF
            source = self.dice.choice(list(SOURCES))
            yield at, source, is_cut, [self._order() for _ in range(size)]
            left -= size

    def _order(self) -> dict[str, Any]:
        (method,) = self.dice.choices(list(METHODS), weights=METHODS.values())
        (basket,) = self.dice.choices(list(BASKETS), weights=BASKETS.values())
        (coupons,) = self.dice.choices(list(COUPONS), weights=COUPONS.values())
        n = self.dice.randrange(CUSTOMERS)
        return {
            "external_id": f"chaos-{next(self._numbers)}",
            "currency": "EUR",
            "customer": {"email": f"ada-{n}@example.com", "name": "Ada"},
            "ship_to": {"country": "DE", "postal_code": "10115"},
            "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in basket],
            "payment": {"method": method},
            "coupons": list(coupons),
        }

    # One by one

    def _send_all(self, sendings: Sequence[Sending], begun: float) -> None:
        with ThreadPoolExecutor(2, thread_name_prefix="twin") as twins:
            for sending in sendings:
                self.over.wait(max(0.0, begun + sending.at - time.monotonic()))
                if sending.twice:
                    list(twins.map(self._send, [sending, sending]))
                else:
                    self._send(sending)
                if sending.conflicts:
                    self._contradict(sending)

    def _send(self, sending: Sending) -> None:
        answer = self.callers[sending.source].call("POST", "/v1/orders", sending.order)
        is_right = answer.status == 202 or (
            answer.status == 200 and (answer.doubtful or sending.twice)
        )
        if not is_right:
            self.journal.wrong(f"{sending.order['external_id']} was answered {answer}")
            return
        self._keep(sending.source, sending.order, answer.body["id"], answer.status == 202)

    def _contradict(self, sending: Sending) -> None:
        first, *others = sending.order["lines"]
        other = {**sending.order, "lines": [{**first, "quantity": 7}, *others]}
        answer = self.callers[sending.source].call("POST", "/v1/orders", other)
        if answer.status != 409:
            self.journal.wrong(f"another {other['external_id']} was answered {answer}")

    # In bulk

    def _send_batches(
        self, batches: Sequence[tuple[float, str, bool, list[dict[str, Any]]]], begun: float
    ) -> None:
        for at, source, is_cut, orders in batches:
            self.over.wait(max(0.0, begun + at - time.monotonic()))
            left = {order["external_id"]: order for order in orders}
            doubtful = False
            while left:
                read = len(left) // 2 if is_cut and not doubtful else len(left)
                self._send_batch(source, left, read, doubtful)
                doubtful = True
                if left and self.over.wait(PATIENCE):
                    raise NeverAnsweredError("a batch")

    def _send_batch(
        self, source: str, left: dict[str, dict[str, Any]], read: int, doubtful: bool
    ) -> None:
        """Read so many verdicts, and strike off `left` what has one."""
        content = "".join(json.dumps(order) + "\n" for order in left.values())
        http = self.callers[source].http
        headers = {"Content-Type": "application/x-ndjson"}
        try:
            with http.stream(
                "POST", "/v1/orders/batch", content=content, headers=headers
            ) as answer:
                if answer.status_code != 200:
                    self._refused(answer)
                    return
                for _, line in zip(range(read), answer.iter_lines(), strict=False):
                    self._judge(source, left, json.loads(line), doubtful)
        except httpx.TransportError:
            self.callers[source].resent += 1

    def _refused(self, answer: httpx.Response) -> None:
        if answer.status_code not in (429, 503):
            answer.read()
            self.journal.wrong(f"a batch was answered {answer.status_code} {answer.text[:300]}")

    def _judge(
        self, source: str, left: dict[str, dict[str, Any]], told: dict[str, Any], doubtful: bool
    ) -> None:
        expected = ("accepted", "duplicate") if doubtful else ("accepted",)
        if told["verdict"] not in expected:
            self.journal.wrong(f"a line of a batch was answered {told}")
        order = left.pop(told["external_id"], None)
        if order is None:
            self.journal.wrong(f"a verdict on what was not sent: {told}")
        elif "id" in told:
            self._keep(source, order, told["id"], told["verdict"] == "accepted")

    def _keep(self, source: str, order: dict[str, Any], order_id: int, is_new: bool) -> None:
        name = order["external_id"]
        with self._lock:
            is_first = name not in self._known
            if self._known.setdefault(name, order_id) != order_id:
                self.journal.wrong(f"{name} has two ids: {order_id} and {self._known[name]}")
            if is_new and name in self._accepted:
                self.journal.wrong(f"{name} was accepted twice")
            if is_new:
                self._accepted.add(name)
        if is_first:
            self.journal.write("order", source=source, id=order_id, order=order)
