"""Redis as people run it: each way works, or is refused by name, and `check` says which it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from ordermill.session import configure_logging
from pipeline.check_broker import check_broker
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings
from pipeline.storage.database import Database
from scheduler.process import SchedulerProcess
from tests.brokers import RedisServer, Sentinels, needs
from tests.support import Mill, an_order
from tests.workers.test_process import are, enqueue, eventually, running, send, worker_of
from workers.announcer import BrokerAnnouncer, PatientAnnouncer
from workers.broker import make_broker
from workers.redis_broker import HintBroker

PEM = Path(__file__).parents[1] / "notifications" / "localhost.pem"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    needs("redis-server")
    server = RedisServer(tmp_path / "redis", appendonly="yes")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def shop(sqlite_database: Database) -> Mill:
    return Mill(sqlite_database).stocked()


def settings_of(shop: Mill, tmp_path: Path, url: str) -> Settings:
    return Settings(
        _env_file=None,
        home=tmp_path / "home",
        database_url=shop.database.url.render_as_string(hide_password=False),
        broker_url=url,
        sandbox_book="memory",
        worker_threads=2,
    )


def checked(settings: Settings) -> dict[str, str]:
    """What `check` says of the broker: level and text by name."""
    return {c.name: f"{c.level}: {c.found} {c.mend}" for c in check_broker(settings)}


def flows(settings: Settings, shop: Mill) -> None:
    """An order by HTTP and one by message are confirmed."""
    worker = worker_of(settings)
    with running(worker):
        orders = send(worker, shop)
        enqueue(worker, "intake", "accept_orders", "shop", [an_order()])
        eventually(are(shop, orders, "confirmed"))
        eventually(lambda: shop.query("SELECT count(*) FROM orders") == [(2,)])


# --- Ways to it -----------------------------------------------------------------------------------


def test_over_tls(tmp_path: Path, shop: Mill) -> None:
    needs("redis-server")
    server = RedisServer(
        tmp_path / "redis",
        port=0,
        tls_port=(port := str(RedisServer(tmp_path / "free").port)),
        tls_cert_file=str(PEM),
        tls_key_file=str(PEM),
        tls_auth_clients="no",
        tls_ca_cert_file=str(PEM),
        appendonly="yes",
    )
    server.start()
    settings = settings_of(shop, tmp_path, f"rediss://localhost:{port}/0?ssl_ca_certs={PEM}")
    try:
        eventually(lambda: checked(settings)["broker"].startswith("ok"))
        flows(settings, shop)
        unknown = settings_of(shop, tmp_path, f"rediss://localhost:{port}/0")
        assert "CERTIFICATE_VERIFY_FAILED" in checked(unknown)["broker"]
    finally:
        server.kill()


def test_by_a_unix_socket(tmp_path: Path, shop: Mill) -> None:
    needs("redis-server")
    path = tmp_path / "s"
    server = RedisServer(tmp_path / "redis", port=0, unixsocket=str(path), appendonly="yes")
    server.start()
    settings = settings_of(shop, tmp_path, f"unix://{path}?db=1")
    try:
        eventually(path.exists)
        flows(settings, shop)
        assert checked(settings)["broker"].startswith("ok")
    finally:
        server.kill()


def test_as_a_user_who_may_do_no_more_than_workers_need(
    server: RedisServer, shop: Mill, tmp_path: Path
) -> None:
    rights = "~ordermill:* +@read +@write +@scripting +@connection +@blocking +time"
    server.client.execute_command(f"ACL SETUSER shop on >pw {rights} -@dangerous")
    settings = settings_of(shop, tmp_path, server.url.replace("//", "//shop:pw@"))
    # A worker that died makes others look through what it had.
    server.client.zadd("ordermill:__heartbeats__", {"dead": 1})
    server.client.sadd("ordermill:__acks__.dead.intake", "gone")

    flows(settings, shop)

    assert checked(settings)["broker"].startswith("ok")
    assert "neither INFO nor CONFIG is allowed" in checked(settings)["broker settings"]
    assert not server.client.exists("ordermill:__acks__.dead.intake")


@pytest.mark.parametrize(
    ("rights", "said"),
    [
        ("~other:* +@all", "~ordermill:*"),
        ("~* +@read +@connection", "doesn't let its user do what workers do"),
    ],
)
def test_a_user_who_may_not_is_told_what_is_missing(
    server: RedisServer, shop: Mill, tmp_path: Path, rights: str, said: str
) -> None:
    server.client.execute_command(f"ACL SETUSER shop on >pw {rights}")

    told = checked(settings_of(shop, tmp_path, server.url.replace("//", "//shop:pw@")))

    assert told["broker"].startswith("error")
    assert said in told["broker"]
    assert "pw" not in told["broker"]


def test_a_wrong_password_is_told_and_not_shown(
    server: RedisServer, shop: Mill, tmp_path: Path
) -> None:
    told = checked(settings_of(shop, tmp_path, server.url.replace("//", "//shop:hunter2@")))

    assert "refuses our user or password" in told["broker"]
    assert "hunter2" not in str(told)


def test_config_may_be_forbidden(tmp_path: Path, shop: Mill) -> None:
    needs("redis-server")
    server = RedisServer(tmp_path / "redis", rename_command='CONFIG ""', appendonly="yes")
    server.start()
    try:
        told = checked(settings_of(shop, tmp_path, server.url))
        assert list(told) == ["broker"]
        assert told["broker"].startswith("ok")
    finally:
        server.kill()


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://",
        "sentinel://localhost:26379",
        "sentinel:///mill",
        "sentinel://localhost:26379/mill/one",
        "sentinel://localhost:26379/mill?sentinel_pass=hunter2",
        "redis://:hunter2@localhost:nowhere/0",
        "redis://:hunter2@localhost/0?no_option=hunter2",
        "amqp://u:hunter2@localhost:nowhere/",
        "kafka://u:hunter2@localhost?token=hunter2",
    ],
)
def test_what_can_not_be_used_is_refused_by_name(url: str, shop: Mill, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="ORDERMILL_BROKER_URL") as told:
        make_broker(url, [])

    assert "hunter2" not in str(told.value)
    check = checked(settings_of(shop, tmp_path, url))["broker"]
    assert check.startswith("error")
    assert "hunter2" not in check


# --- What happens to it ---------------------------------------------------------------------------


def test_an_answer_never_waits_for_a_server_that_hangs(
    server: RedisServer, shop: Mill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.announce.GRACE", 0.1)
    settings = settings_of(shop, tmp_path, server.url)
    worker = worker_of(settings)
    waited_for = threading.Event()

    class Announcer(BrokerAnnouncer):
        def announce(self, step: str, dispatch_id: int) -> None:
            waited_for.set()
            super().announce(step, dispatch_id)
            raise AssertionError("a server that hangs has answered")

    announcer = PatientAnnouncer(Announcer(worker.broker))
    with server.frozen():
        worker.app.engine.announcer = announcer
        orders = send(worker, shop, 20)
        assert waited_for.wait(15)  # and only then: nobody else has
        assert "doesn't answer" in checked(settings)["broker"]
        announcer.close()
    with running(worker), running(SchedulerProcess(settings)):
        eventually(are(shop, orders, "confirmed"))


def test_a_full_server_is_worked_off_and_orders_by_http_flow(
    server: RedisServer, shop: Mill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.announce.GRACE", 0.1)
    settings = settings_of(shop, tmp_path, server.url)
    worker = worker_of(settings)
    for _ in range(10):
        enqueue(worker, "intake", "accept_orders", "shop", [an_order()])
    server.client.config_set("maxmemory", "1000000")
    with pytest.raises(redis.OutOfMemoryError):
        server.client.set("more", "1")

    with running(worker), running(SchedulerProcess(settings)):
        orders = send(worker, shop, 2)
        eventually(are(shop, orders, "confirmed"))
        eventually(lambda: shop.query("SELECT count(*) FROM orders") == [(12,)])

    told = checked(settings)
    assert told["broker"].startswith("ok")
    assert told["broker memory"].startswith("error: is full")


def test_a_server_that_was_demoted_is_left_for_who_has_its_name(
    server: RedisServer, shop: Mill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections live on when a managed service demotes; its name leads elsewhere."""
    monkeypatch.setattr("scheduler.announce.GRACE", 0.1)
    other = RedisServer(tmp_path / "other", appendonly="yes")
    other.start()
    settings = settings_of(shop, tmp_path, server.url)
    worker = worker_of(settings)
    scheduler = SchedulerProcess(settings)
    try:
        with running(worker), running(scheduler):
            eventually(are(shop, send(worker, shop), "confirmed"))
            for broker in (worker.broker, scheduler._announcer._broker):
                lead(broker.client.connection_pool, other.port)
            server.client.replicaof("127.0.0.1", str(other.port))
            orders = send(worker, shop, 3)
            eventually(are(shop, orders, "confirmed"))
        assert "is a replica" in checked(settings)["broker"]
    finally:
        other.kill()


def lead(pool: Any, port: int) -> None:
    """As a name that leads elsewhere from now on: connections that are there stay where they are."""
    pool.connection_kwargs["port"] = port
    for connection in (*pool._available_connections, *pool._in_use_connections):
        connection.port = port


def test_a_message_that_is_sent_again_as_its_answer_was_lost_is_in_the_queue_once() -> None:
    broker = make_broker("memory://", [])
    assert isinstance(broker, HintBroker)

    for _ in range(2):
        broker.do_enqueue("pay", "a hint", b"{}")

    assert broker.client.llen(broker.key("pay")) == 1


def test_an_outage_is_told_once_with_a_count(
    server: RedisServer,
    shop: Mill,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Two minutes of it are some thousand attempts; here they are made in seconds."""
    monkeypatch.setattr("scheduler.announce.GRACE", 0.1)
    monkeypatch.setattr("scheduler.process.ANNOUNCE_EVERY", 0.01)
    monkeypatch.setattr("workers.redis_broker.AGAIN", 0.01)
    settings = settings_of(shop, tmp_path, server.url)
    configure_logging(settings)
    caplog.set_level("INFO")
    worker = worker_of(settings)
    with running(worker), running(SchedulerProcess(settings)):
        server.kill()
        orders = send(worker, shop, 20)
        eventually(lambda: worker.broker.outage._failures > 1_000, 60)
        server.start()
        eventually(are(shop, orders, "confirmed"))
        eventually(lambda: "messages can't be fetched: over after" in caplog.text)

    told = [r for r in caplog.records if r.levelname in ("WARNING", "ERROR", "CRITICAL")]
    assert len(told) < 20, [r.getMessage() for r in told]
    assert "Traceback" not in caplog.text
    assert "Consumer" not in caplog.text


@pytest.mark.parametrize(
    ("failovers", "each"), [(1, 20), pytest.param(3, 1_700, marks=pytest.mark.long)]
)
@pytest.mark.timeout(600)
def test_sentinels_fail_over_while_orders_come(
    shop: Mill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failovers: int, each: int
) -> None:
    """Each order that was accepted is confirmed, and charged once, soon after the last of them."""
    needs("redis-server", "redis-sentinel")
    shop.receive("MUG-01", 20_000)
    sentinels = Sentinels(tmp_path / "sentinels")
    sentinels.start()
    settings = settings_of(shop, tmp_path, sentinels.url)
    worker = worker_of(settings)
    orders: list[int] = []
    over = threading.Event()

    def keep_sending() -> None:
        while not over.is_set():
            orders.extend(send(worker, shop))
            time.sleep(0.01)

    sender = threading.Thread(target=keep_sending)
    try:
        assert checked(settings)["broker"].startswith("ok")
        with running(worker), running(SchedulerProcess(settings)):
            sender.start()
            for _ in range(failovers):
                before = len(orders)
                sentinels.fail_over()
                eventually(lambda seen=before: len(orders) >= seen + each, 300)
            over.set()
            sender.join()
            began = time.monotonic()
            eventually(are(shop, orders, "confirmed"), settings.lease_seconds + 15)
            print(f"{len(orders)} orders settled {time.monotonic() - began:.1f} s after the last")
    finally:
        over.set()
        sentinels.stop()
    booked = [(e.key, e.kind) for e in worker.app.gateways["sandbox"].book()]
    assert len(booked) == len(set(booked)) == 2 * len(orders)
    assert shop.query("SELECT count(*) FROM orders") == [(len(orders),)]
