"""The whole life of payments at Stripe (localstripe's own process) with everything going wrong that
can: answers swallowed, failures saved and not, rate limits, garbage, silence; events twice, in any
order, forged, or never. At the end the server's own list has one net capture an order, and the
books agree.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, get_args

import httpx
import pytest

from pipeline import operations
from pipeline.chain import STEPS
from pipeline.engine.engine import Limits
from pipeline.order import SETTLED
from pipeline.payments.gateway import InvalidEvent
from pipeline.payments.stripe import StripeGateway
from pipeline.source import Policy
from pipeline.storage.database import Database
from tests.payments.faulty_proxy import Fault, FaultyProxy
from tests.payments.houses import SECRET, STRIPE_KEY, StripeHouse
from tests.payments.shop import act, as_if_later, cancel, findings, make_tasks_due, written
from tests.support import MUG, TEE, Mill

GOOD, ACTING, DECLINED = 22, 8, 4
FAULTS: tuple[Fault, ...] = get_args(Fault)
#: So many of the requests that change something go wrong, in an order that the seed decides.
FAULTY = 60
#: Silence costs a whole time-out: some of it is enough.
HANGS = 4
#: Seconds for all to come to an end, whatever else the machine does meanwhile.
PATIENCE = 90.0
#: Seconds by which an operation ages a round: after a minute a failure that Stripe saved is got round.
AGE = 70.0
#: More than a customer has to act.
EXPIRES, LONG = 100_000, 200_000.0


class Life:
    """A shop on localstripe behind the faulty proxy, and the hooks that came from there."""

    def __init__(self, database: Database, proxy: FaultyProxy, url: str, seed: int) -> None:
        self.dice = random.Random(seed)
        self.proxy = proxy
        self.house = StripeHouse(proxy)
        self.server = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {STRIPE_KEY}"})
        hook = {"url": f"{proxy.url}/hook", "secret": SECRET}
        self.server.post("/_config/webhooks/ours", json=hook).raise_for_status()
        gateway = StripeGateway(STRIPE_KEY, SECRET, base=proxy.url, timeout=httpx.Timeout(0.5))
        policy = Policy(gateway="stripe", payment_expires_after=EXPIRES)
        limits = Limits(attempts=1_000)
        self.shop = Mill(database, gateway=gateway, policy=policy, limits=limits).stocked(
            units=100, backorder=True
        )
        self.given_up: set[int] = set()  # by their customers, long ago
        self.heard = 0
        self.forged = 0

    def place(self) -> None:
        house = self.house
        methods = [house.good] * GOOD + [house.declined] * DECLINED
        methods += [house.waits for _ in range(ACTING)]
        self.dice.shuffle(methods)
        self.orders = [
            self.shop.accept(method=method, lines=[(MUG, self.dice.randint(1, 3)), (TEE, 1)])
            for method in methods
        ]

    def go_wrong(self) -> None:
        silent = ("hang", "hang_before")
        faults = self.dice.choices([f for f in FAULTS if f not in silent], k=FAULTY - HANGS)
        faults += self.dice.choices(silent, k=HANGS)
        self.dice.shuffle(faults)
        self.proxy.fault(*faults)

    def turn(self) -> None:
        """Everybody works once on what is due, and hears some of what Stripe tells."""
        self.shop.make_due()
        for step in STEPS:
            self.shop.engine.work(step)
        make_tasks_due(self.shop)
        self.shop.payment_tasks.run()
        for order in self.orders:
            as_if_later(self.shop, order, LONG if order in self.given_up else AGE)
        self.hear()

    def hear(self) -> None:
        """Of the hooks that came a third is lost; the others come twice, in any order, some forged."""
        come = self.proxy.hooked[self.heard :]
        self.heard += len(come)
        told = [hook for hook in come if self.dice.random() < 0.67] * 2
        self.dice.shuffle(told)
        for number, (body, headers) in enumerate(told):
            if number % 10 == 0:
                self.forged += 1
                with pytest.raises(InvalidEvent):
                    self.shop.gateway_events.receive("stripe", body + b" ", headers)
            self.shop.gateway_events.receive("stripe", body, headers)

    def statuses(self) -> dict[int, str]:
        return {row.id: row.status for row in self.shop.query("SELECT id, status FROM orders")}

    def work_until(self, is_reached: Callable[[], bool]) -> None:
        """By the clock: a gateway that is unwell is left alone for seconds, however fast we turn."""
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:
            self.turn()
            if is_reached():
                return
        raise AssertionError(f"not all came to an end: {self.unsettled()}")

    def unsettled(self) -> dict[int, list[Any]]:
        """What was last told of them, and asked for."""
        return {
            i: [
                self.shop.query(f"SELECT * FROM events WHERE order_id = {i} ORDER BY seq")[-4:],
                written(self.shop, i),
                self.shop.query("SELECT step, attempts, due_at FROM dispatches"),
            ]
            for i, status in self.statuses().items()
            if status not in SETTLED
        }

    def all_is_settled(self) -> bool:
        at_rest = set(self.statuses().values()) <= SETTLED
        return at_rest and not self.shop.query("SELECT * FROM payment_tasks")

    def only_customers_are_awaited(self) -> bool:
        unsettled = {i for i, status in self.statuses().items() if status not in SETTLED}
        return len(unsettled) == ACTING and unsettled == self.waiting().keys()

    def waiting(self) -> dict[int, str]:
        """The orders that wait for their customers, and Stripe's names for their payments."""
        found = {}
        for order, status in self.statuses().items():
            pending = [op.reference for op in written(self.shop, order) if op.state == "pending"]
            if status not in SETTLED and pending and pending[0] is not None:
                found[order] = pending[0]
        return found

    def refund_at_the_console(self, order: int, amount: int) -> None:
        """Past us and all faults."""
        [its] = [i["id"] for i in self.listed("payment_intents") if _order(i) == order]
        fields = {"payment_intent": its, "amount": amount}
        self.server.post("/v1/refunds", data=fields).raise_for_status()

    def listed(self, name: str) -> list[dict[str, Any]]:
        data: list[dict[str, Any]] = self.server.get(f"/v1/{name}?limit=1000").json()["data"]
        return data


def _order(intent: dict[str, Any]) -> int:
    return int(intent["metadata"]["order"])


@pytest.mark.parametrize(
    ("database", "seed"), [("sqlite", 1), ("postgres", 2)], indirect=["database"]
)
def test_whatever_goes_wrong_each_order_is_paid_once_by_the_server_s_own_list(
    database: Database, proxy: FaultyProxy, localstripe_url: str, seed: int
) -> None:
    began = time.monotonic()
    life = Life(database, proxy, localstripe_url, seed)
    shop = life.shop
    life.place()
    life.go_wrong()

    # Until all are settled but those that wait for their customers.
    life.work_until(life.only_customers_are_awaited)
    waiting = life.waiting()

    # Half of these act, one fails; the others are given up by their own hand, or in time.
    acting = life.dice.sample(sorted(waiting), ACTING)
    for order in acting[:4]:
        life.house.confirm(waiting[order])
    life.house.fail(waiting[acting[4]])
    for order in acting[5:7]:
        cancel(shop, order)
    life.given_up.add(acting[7])
    as_if_later(shop, acting[7], LONG)
    life.go_wrong()
    life.work_until(life.all_is_settled)

    # After the sale: refunds by us and at Stripe's console, and orders cancelled altogether.
    life.go_wrong()
    confirmed = [i for i, status in life.statuses().items() if status == "confirmed"]
    life.dice.shuffle(confirmed)
    by_us, there, cancelled = confirmed[:6], confirmed[6:9], confirmed[9:13]
    for order in by_us:
        act(shop, operations.refund, order, lines={1: 1})
        act(shop, operations.refund, order, amount=1)
    for order in there:
        life.refund_at_the_console(order, 700)
    for order in cancelled:
        cancel(shop, order)
    life.work_until(life.all_is_settled)
    shop.gateway_events.poll()

    assert_paid_once(life, by_us, there)
    assert findings(shop) == []
    assert life.forged
    print(
        f"seed {seed}: {len(life.orders)} orders, {len(proxy.seen)} requests, "
        f"{life.heard} hooks, {life.forged} forged, {Counter(life.statuses().values())}, "
        f"{time.monotonic() - began:.1f} s"
    )


def assert_paid_once(life: Life, by_us: list[int], there: list[int]) -> None:
    """By localstripe's own lists alone."""
    totals = {
        row.order_id: row.total for row in life.shop.query("SELECT order_id, total FROM quotes")
    }
    taken, back = Counter[int](), Counter[int]()
    order_of = {intent["id"]: _order(intent) for intent in life.listed("payment_intents")}
    for intent in life.listed("payment_intents"):
        assert intent["status"] != "requires_capture", "a claim that nobody gave up"
        if intent["status"] == "succeeded":
            assert order_of[intent["id"]] not in taken, "captured twice"
            taken[order_of[intent["id"]]] = intent["amount"]
    for refund in life.listed("refunds"):
        if refund["payment_intent"] is not None:
            back[order_of[refund["payment_intent"]]] += refund["amount"]
    for order, status in life.statuses().items():
        if status == "confirmed":
            assert taken[order] == totals[order]
            assert back[order] == (1001 if order in by_us else 700 if order in there else 0)
        else:
            assert taken[order] == back[order], f"order {order} is {status}"
