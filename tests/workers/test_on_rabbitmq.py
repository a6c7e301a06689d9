"""The whole home on RabbitMQ: hints, intake, what can't be read, connections that are closed, restarts."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pika
import psutil
import pytest

from pipeline.check_broker import check_broker
from pipeline.settings import Settings
from pipeline.storage import refusals
from pipeline.storage.database import Database
from scheduler.announce import announce
from scheduler.process import SchedulerProcess
from tests.brokers import RabbitmqServer, rabbitmq
from tests.support import Mill, an_order
from tests.workers.test_process import are, enqueue, eventually, running, send, worker_of
from workers.announcer import BrokerAnnouncer
from workers.broker import make_broker
from workers.rabbitmq_broker import RabbitmqHints

#: Its restarts take a minute where the machine is busy.
pytestmark = pytest.mark.timeout(600)
PATIENCE = 60.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitmqServer]:
    with rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as server:
        yield server


@pytest.fixture
def shop(database: Database) -> Mill:
    return Mill(database).stocked()


@pytest.fixture
def settings(
    server: RabbitmqServer, shop: Mill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    monkeypatch.setattr("scheduler.announce.GRACE", 0.1)
    settings = Settings(
        _env_file=None,
        home=tmp_path / "home",
        database_url=shop.database.url.render_as_string(hide_password=False),
        broker_url=server.url,
        sandbox_book="memory",
        worker_threads=2,
    )
    with on_the_server(settings) as channel:
        for queue in ("validate", "price", "pay", "reserve", "notify", "intake"):
            channel.queue_delete(queue)
    return settings


def on_the_server(settings: Settings) -> Channel:
    return Channel(settings.broker_url)


class Channel:
    """A connection of somebody else's."""

    def __init__(self, url: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))

    def __enter__(self) -> pika.adapters.blocking_connection.BlockingChannel:
        return self._connection.channel()

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def close_connections(broker: RabbitmqHints) -> None:
    """As a server does that hears no heartbeat: the client finds it out when it next writes."""
    for connection in list(broker.connections):
        connection._impl._transport._sock.shutdown(socket.SHUT_RDWR)


def test_orders_by_http_and_by_message_are_confirmed(settings: Settings, shop: Mill) -> None:
    worker = worker_of(settings)

    with running(worker):
        orders = send(worker, shop, 10)
        enqueue(worker, "intake", "accept_orders", "shop", [an_order(), an_order()])
        eventually(are(shop, orders, "confirmed"), PATIENCE)
        confirmed = "SELECT count(*) FROM orders WHERE status = 'confirmed'"
        eventually(lambda: shop.query(confirmed) == [(12,)], PATIENCE)

    assert [c.level for c in check_broker(settings)] == ["ok"]


def test_a_hint_that_was_lost_is_announced_again(settings: Settings, shop: Mill) -> None:
    order = shop.accept()  # nobody was told

    with running(worker_of(settings)), running(SchedulerProcess(settings)):
        eventually(are(shop, [order], "confirmed"), PATIENCE)


def test_after_its_connection_was_closed_a_scheduler_announces_again(
    settings: Settings, shop: Mill
) -> None:
    broker = make_broker(settings.broker_url, [])
    assert isinstance(broker, RabbitmqHints)
    announcer = BrokerAnnouncer(broker)
    for _ in range(3):
        shop.accept()
        time.sleep(0.2)  # beyond the grace
        announce(shop, announcer)  # type: ignore[arg-type] # it has the database
        close_connections(broker)

    assert announcer.waiting("validate") == 3


def test_what_can_not_be_read_is_put_aside(settings: Settings, shop: Mill) -> None:
    worker = worker_of(settings)

    with running(worker):
        send(worker, shop)
        with on_the_server(settings) as channel:
            for queue, body in (("intake", b"not json"), ("intake", b"{}"), ("pay", b"[]")):
                channel.queue_declare(queue, passive=True)
                channel.basic_publish("", queue, body)
        enqueue(worker, "intake", "accept_orders", "shop", [an_order()])
        eventually(lambda: len(put_aside(shop)) == 3, PATIENCE)
        eventually(lambda: shop.query("SELECT count(*) FROM orders") == [(2,)], PATIENCE)

    assert sorted(put_aside(shop)) == [("intake", "not json"), ("intake", "{}"), ("pay", "[]")]
    with on_the_server(settings) as channel:
        assert channel.queue_declare("intake", passive=True).method.message_count == 0


def put_aside(shop: Mill) -> list[tuple[str, str]]:
    with shop.database.snapshot() as tx:
        return [(r.queue, r.message) for r in refusals.latest(tx, 10) if json.loads(r.problems)]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_queue_that_can_not_be_declared_leaves_no_connection_open(
    settings: Settings, server: RabbitmqServer
) -> None:
    with on_the_server(settings) as channel:
        channel.queue_delete("pay")
        channel.queue_declare("pay", durable=True, arguments={"x-max-priority": 5})
        broker = make_broker(settings.broker_url, [])
        assert isinstance(broker, RabbitmqHints)
        consumer = broker.consume("pay", 1, 100)
        before = _connections(server)

        assert [next(consumer) for _ in range(3)] == [None] * 3

        assert _connections(server) == before
        channel.queue_delete("pay")


def _connections(server: RabbitmqServer) -> int:
    """Those that this process has to the server."""
    found = psutil.Process().net_connections("tcp")
    return sum(1 for each in found if each.raddr and each.raddr.port == server.port)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("restarts", "each"), [(1, 20), pytest.param(3, 1_700, marks=pytest.mark.long)]
)
def test_it_restarts_while_orders_come(
    settings: Settings, shop: Mill, server: RabbitmqServer, restarts: int, each: int
) -> None:
    """Each order that was accepted is confirmed, and charged once, soon after the last restart."""
    shop.receive("MUG-01", 20_000)
    worker = worker_of(settings)
    orders: list[int] = []
    over = threading.Event()

    def keep_sending() -> None:
        while not over.is_set():
            orders.extend(send(worker, shop))
            time.sleep(0.02)

    sender = threading.Thread(target=keep_sending)
    with running(worker), running(SchedulerProcess(settings)):
        sender.start()
        try:
            for _ in range(restarts):
                before = len(orders)
                server.restart()
                eventually(lambda seen=before: len(orders) >= seen + each, 300)
        finally:
            over.set()
            sender.join()
        began = time.monotonic()
        eventually(are(shop, orders, "confirmed"), settings.lease_seconds + 15)
        print(f"{len(orders)} orders settled {time.monotonic() - began:.1f} s after the last")
    booked = [(e.key, e.kind) for e in worker.app.gateways["sandbox"].book()]
    assert len(booked) == len(set(booked)) == 2 * len(orders)
    assert shop.query("SELECT count(*) FROM orders") == [(len(orders),)]
