"""Workers on a broker that may lose, double or delay what it carries, and on one that was wiped."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from dramatiq import Message
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError

from pipeline.chain import STEPS
from pipeline.notifications.deliver import Courier
from pipeline.payments.gateway import Answer, Call
from pipeline.payments.sandbox import SandboxGateway
from pipeline.settings import Settings
from pipeline.storage import processes, refusals
from scheduler.process import SchedulerProcess
from tests.support import Inbox, Mill, an_order
from workers.announcer import BrokerAnnouncer
from workers.process import WorkerProcess

PATIENCE = 15.0


def eventually(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Fails unless the condition comes true in time."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "it never came to be"
        time.sleep(0.02)


@contextmanager
def running(process: WorkerProcess | SchedulerProcess) -> Iterator[None]:
    process.start()
    try:
        yield
    finally:
        process.stop()


def worker_of(settings: Settings, inbox: Inbox | None = None) -> WorkerProcess:
    inbox = inbox or Inbox()
    return WorkerProcess(settings, courier=Courier(inbox, inbox))


def send(worker: WorkerProcess, shop: Mill, n: int = 1, **changes: Any) -> list[int]:
    """Accept so many orders one by one, as an upstream system would have them; their ids."""
    receipts = [worker.app.intake.accept(shop.source, an_order(**changes)) for _ in range(n)]
    return [receipt.order_id for receipt in receipts if receipt.order_id is not None]


def enqueue(worker: WorkerProcess, queue: str, actor: str, *args: Any) -> None:
    worker.broker.enqueue(
        Message(queue_name=queue, actor_name=actor, args=args, kwargs={}, options={})
    )


def are(shop: Mill, orders: Sequence[int], status: str) -> Callable[[], bool]:
    return lambda: all(shop.status(order) == status for order in orders)


def dead_letters(worker: WorkerProcess) -> int:
    client = worker.broker.client
    return sum(client.zcard(f"ordermill:{queue}.XQ") for queue in (*STEPS, "intake"))


class Blocking(SandboxGateway):
    """A sandbox whose answers wait until `go` is set; `asked` says that one is waited for."""

    def __init__(self) -> None:
        super().__init__(None)
        self.asked, self.go = threading.Event(), threading.Event()

    def perform(self, call: Call) -> Answer:
        self.asked.set()
        assert self.go.wait(PATIENCE)
        return super().perform(call)


def blocked(worker: WorkerProcess) -> Blocking:
    gateway = Blocking()
    worker.app.engine.steps["pay"].callers.gateways = {"sandbox": gateway}  # type: ignore[attr-defined]
    return gateway


# --- Hints ----------------------------------------------------------------------------------------


def test_orders_that_were_accepted_are_confirmed_and_their_customers_told(
    settings: Settings, shop: Mill
) -> None:
    inbox = Inbox()
    worker = worker_of(settings, inbox)

    with running(worker):
        orders = send(worker, shop, 20)
        eventually(are(shop, orders, "confirmed"))

    assert sorted(n.order_id for n in inbox.received) == orders
    assert shop.query("SELECT * FROM dispatches") == []


@pytest.mark.parametrize("settings", ["real"], indirect=True)
def test_two_workers_share_the_work_and_double_none(settings: Settings, shop: Mill) -> None:
    inbox = Inbox()
    one = worker_of(settings, inbox)
    other = WorkerProcess(settings, courier=Courier(inbox, inbox), serves=["pay", "notify"])
    gateways = [one.app.gateways["sandbox"], other.app.gateways["sandbox"]]

    with running(one), running(other):
        orders = send(one, shop, 20)
        eventually(are(shop, orders, "confirmed"))

    assert sorted(n.order_id for n in inbox.received) == orders
    booked = [entry.kind for gateway in gateways for entry in gateway.book()]
    assert sorted(booked) == ["authorize"] * 20 + ["capture"] * 20


def test_a_message_whose_dispatch_is_gone_is_nothing(settings: Settings, shop: Mill) -> None:
    worker = worker_of(settings)

    with running(worker):
        for step in STEPS:
            enqueue(worker, step, step, 4711)
        orders = send(worker, shop)
        eventually(are(shop, orders, "confirmed"))
        eventually(lambda: not any(map(BrokerAnnouncer(worker.broker).waiting, STEPS)))

    assert dead_letters(worker) == 0


def test_a_message_that_comes_ten_times_works_once(settings: Settings, shop: Mill) -> None:
    worker = worker_of(settings)
    orders = send(worker, shop)
    [(dispatch,)] = shop.query("SELECT id FROM dispatches")
    for _ in range(10):
        enqueue(worker, "validate", "validate", dispatch)

    with running(worker):
        eventually(are(shop, orders, "confirmed"))

    assert shop.timeline(orders[0]) == ["received"] + ["advanced"] * 5


def test_when_the_broker_has_lost_everything_the_scheduler_finds_everything(
    settings: Settings, shop: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.announce.GRACE", 0.1)
    monkeypatch.setattr("scheduler.process.ANNOUNCE_EVERY", 0.1)
    worker = worker_of(settings)
    orders = send(worker, shop, 20)

    worker.broker.client.flushall()
    with running(worker), running(SchedulerProcess(settings, worker.broker)):
        eventually(are(shop, orders, "confirmed"))

    assert shop.query("SELECT * FROM dispatches") == []


def test_a_broker_wiped_while_orders_are_worked_on_loses_none(
    settings: Settings, shop: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.announce.GRACE", 0.1)
    monkeypatch.setattr("scheduler.process.ANNOUNCE_EVERY", 0.1)
    worker = worker_of(settings)
    gateway = blocked(worker)

    with running(worker), running(SchedulerProcess(settings, worker.broker)):
        orders = send(worker, shop, 10)
        assert gateway.asked.wait(PATIENCE)
        worker.broker.client.flushall()
        gateway.go.set()
        orders += send(worker, shop, 10)
        worker.broker.client.flushall()
        eventually(are(shop, orders, "confirmed"))


# --- Intake by message ----------------------------------------------------------------------------


def test_orders_sent_as_a_message_are_taken_in(settings: Settings, shop: Mill) -> None:
    worker = worker_of(settings)
    batch = [an_order(), an_order()]

    with running(worker):
        enqueue(worker, "intake", "accept_orders", "shop", batch)
        confirmed = "SELECT external_id FROM orders WHERE status = 'confirmed' ORDER BY id"
        eventually(lambda: len(shop.query(confirmed)) == 2)

    assert [i for (i,) in shop.query(confirmed)] == [order["external_id"] for order in batch]
    assert shop.query("SELECT * FROM refusals") == []


def test_a_message_that_a_dead_worker_held_comes_back_though_its_queue_is_quiet(
    settings: Settings, shop: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.redis_broker.HEARTBEAT_TIMEOUT", 400)
    dead = worker_of(settings)
    enqueue(dead, "intake", "accept_orders", "shop", [an_order()])
    assert dead.broker.do_fetch("intake", 1)  # and nothing more is heard of it

    survivor = worker_of(settings) if settings.broker_url != "memory://" else dead
    survivor.broker.broker_id = "the-survivor"
    with running(survivor):
        eventually(lambda: shop.query("SELECT * FROM orders WHERE status = 'confirmed'"))


def test_messages_whose_fetch_lost_its_answer_come_back(
    settings: Settings, shop: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.redis_broker.HEARTBEAT_TIMEOUT", 400)
    worker = worker_of(settings)
    fetch, lost = worker.broker.do_fetch, []

    def lose_the_first(queue: str, room: int) -> Any:
        found = fetch(queue, room)
        if found and queue == "intake" and not lost:
            lost.extend(found)
            raise redis.ConnectionError("reset by peer")
        return found

    monkeypatch.setattr(worker.broker, "do_fetch", lose_the_first)
    with running(worker):
        enqueue(worker, "intake", "accept_orders", "shop", [an_order()])
        eventually(lambda: shop.query("SELECT * FROM orders WHERE status = 'confirmed'"))

    assert lost


def refused(shop: Mill) -> list[Any]:
    with shop.database.snapshot() as tx:
        return refusals.latest(tx, 10)


def test_what_is_refused_of_a_message_is_written_where_operators_see_it(
    settings: Settings, shop: Mill
) -> None:
    worker = worker_of(settings)
    known = an_order()
    shop.send(known)
    changed = {**known, "lines": [{"sku": "TEE-01", "quantity": 1}]}

    with running(worker):
        enqueue(
            worker,
            "intake",
            "accept_orders",
            "shop",
            [an_order(external_id="web-bad", currency="EURO"), known, changed, an_order()],
        )
        eventually(lambda: len(refused(shop)) == 2)

    found = {r.external_id: json.loads(r.problems) for r in refused(shop)}
    assert found["web-bad"] == [
        'currency: got "EURO", expected an ISO 4217 currency code such as EUR'
    ]
    assert found[known["external_id"]][0].startswith("external_id: got")
    assert shop.query("SELECT count(*) FROM orders") == [(2,)]


def test_a_message_from_an_unknown_source_is_refused_whole(settings: Settings, shop: Mill) -> None:
    worker = worker_of(settings)

    with running(worker):
        enqueue(worker, "intake", "accept_orders", "nobody", [an_order(), an_order()])
        eventually(lambda: len(refused(shop)) == 2)

    assert {r.source for r in refused(shop)} == {"nobody"}
    assert dead_letters(worker) == 0


@pytest.mark.parametrize(
    "source",
    ["web\x001001", "\ud800" * 99, "x" * 1_000_000, "4242 4242 4242 4242", "sk_live_4eC39HqLyjW"],
)
def test_the_name_of_an_unknown_source_is_written_as_what_can_be_stored_and_shown(
    settings: Settings, shop: Mill, source: str
) -> None:
    worker = worker_of(settings)

    enqueue(worker, "intake", "accept_orders", source, [an_order(), an_order()])
    with running(worker):
        eventually(lambda: BrokerAnnouncer(worker.broker).waiting("intake") == 0)

    found = refused(shop)
    assert [row.queue for row in found] == [None, None]
    assert all(len(row.source) <= 64 and len(row.problems) < 300 for row in found)
    assert not any(source in row.source + row.problems for row in found)
    assert dead_letters(worker) == 0


@pytest.mark.parametrize("external_id", ["web\x001001", "\ud800"])
def test_an_order_whose_very_name_can_not_be_stored_is_refused_like_any_other(
    settings: Settings, shop: Mill, external_id: str
) -> None:
    worker = worker_of(settings)

    enqueue(worker, "intake", "accept_orders", "shop", [an_order(external_id=external_id)])
    with running(worker):
        eventually(lambda: BrokerAnnouncer(worker.broker).waiting("intake") == 0)

    assert len(refused(shop)) == 1
    assert dead_letters(worker) == 0


def test_while_the_database_is_away_a_message_waits_and_is_not_lost(
    settings: Settings, shop: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.actors.DATABASE_PATIENCE", 0.02)
    worker = worker_of(settings)
    away, tried = threading.Event(), threading.Event()

    def refuse_while_away(_: Any) -> None:
        if away.is_set():
            tried.set()
            raise DisconnectionError("the database is away")

    event.listen(worker.app.database.engine, "begin", refuse_while_away)
    away.set()
    with running(worker):
        enqueue(worker, "intake", "accept_orders", "shop", [an_order()])
        assert tried.wait(PATIENCE)
        time.sleep(0.2)
        assert shop.query("SELECT count(*) FROM orders") == [(0,)]
        away.clear()
        eventually(lambda: shop.query("SELECT status FROM orders") == [("confirmed",)])

    assert dead_letters(worker) == 0


# --- Stopping, and being seen ---------------------------------------------------------------------


def test_a_worker_that_is_stopped_finishes_what_it_has_in_hand_and_goes_no_further(
    settings: Settings, shop: Mill
) -> None:
    worker = worker_of(settings)
    gateway = blocked(worker)
    worker.start()
    orders = send(worker, shop)
    assert gateway.asked.wait(PATIENCE)

    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    eventually(worker.app.engine._stopping.is_set)
    time.sleep(0.3)  # threads with nothing in hand look up every 0.1 s
    gateway.go.set()
    stopping.join(PATIENCE)

    assert not stopping.is_alive()
    assert [shop.status(order) for order in orders] == ["paid"]
    assert [e.kind for e in gateway.book()] == ["authorize", "capture"]
    assert shop.query("SELECT step, lease FROM dispatches") == [("reserve", None)]


def test_the_next_worker_goes_on_where_a_stopped_one_was(
    settings: Settings, shop: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.announce.GRACE", 0.1)
    worker = worker_of(settings)
    gateway = blocked(worker)
    worker.start()
    orders = send(worker, shop)
    assert gateway.asked.wait(PATIENCE)
    gateway.go.set()
    worker.stop()

    following = worker_of(settings)
    with running(following), running(SchedulerProcess(settings, following.broker)):
        eventually(are(shop, orders, "confirmed"))


def test_the_registry_shows_a_worker_s_host_pid_and_what_it_has_in_hand(
    settings: Settings, shop: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.presence.EVERY", 0.05)
    worker = worker_of(settings)
    gateway = blocked(worker)

    def seen() -> list[Any]:
        with shop.database.snapshot() as tx:
            return processes.all_processes(tx)

    def doing() -> list[dict[str, Any]]:
        return [work for process in seen() for work in json.loads(process.doing)]

    with running(worker):
        send(worker, shop)
        assert gateway.asked.wait(PATIENCE)
        eventually(lambda: any(work["step"] == "pay" for work in doing()))
        [process], [work] = seen(), doing()
        gateway.go.set()
        eventually(lambda: not doing())

    assert (process.role, process.host, process.pid) == (
        "worker",
        socket.gethostname(),
        os.getpid(),
    )
    assert process.alive
    assert (work["step"], work["orders"]) == ("pay", 1)
    assert seen() == []
