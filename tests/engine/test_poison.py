"""An order that kills its worker, again and again, ends on hold; nobody else does."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import redis

from ordermill.processes import running
from pipeline.audit.audit import audit
from pipeline.payments.sandbox import SandboxGateway
from pipeline.settings import Settings
from pipeline.storage.database import Database
from scheduler.process import SchedulerProcess
from tests.chaos.deadly_worker import DEADLY, work
from tests.support import Mill, an_order

GOOD, SLOW = "pm_card_visa", "pm_slow"
PATIENCE = 60.0

#: Children of a server that has imported everything come up at once, and as fresh as if started.
_fresh = multiprocessing.get_context("forkserver")
_fresh.set_forkserver_preload(["tests.chaos.deadly_worker"])


@pytest.fixture
def settings(
    tmp_path: Path, postgres_database: Database, postgres_url: str, valkey_url: str
) -> Settings:
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
    return Settings(
        _env_file=None,
        home=tmp_path,
        database_url=postgres_url,
        broker_url=valkey_url,
        sandbox_book=str(tmp_path / "book.db"),
        lease_seconds=1.0,
    )


@pytest.fixture
def shop(postgres_database: Database, settings: Settings) -> Mill:
    """Sends orders and looks on; the work is done by the processes."""
    return Mill(postgres_database, gateway=SandboxGateway(settings.sandbox_book)).stocked()


def test_poison_is_held_and_its_batch_confirmed(shop: Mill, settings: Settings) -> None:
    methods = [GOOD, DEADLY, GOOD, GOOD]

    batch = [an_order(method=method) for method in methods]
    orders = [r.order_id for r in shop.intake.accept_all(shop.source, batch)]
    with running(SchedulerProcess(settings)), _a_worker_at_a_time(settings) as replace:
        _await_settled(shop, orders, replace)

    assert [shop.status(o) for o in orders] == ["confirmed", "on_hold", "confirmed", "confirmed"]
    assert (shop.row(orders[1]).stage, shop.row(orders[1]).reason) == ("pay", "poison")
    assert audit(shop.database, shop.gateways).is_clean


def test_poison_does_not_take_with_it_what_its_worker_does_beside(
    shop: Mill, settings: Settings
) -> None:
    """Each order in a batch of its own, all in hand of one process whenever it is killed."""
    settings = settings.model_copy(update={"batch": 1})
    orders = [shop.accept(method=method) for method in [DEADLY, SLOW, SLOW]]
    with running(SchedulerProcess(settings)), _a_worker_at_a_time(settings) as replace:
        _await_settled(shop, orders, replace)

    assert [shop.status(o) for o in orders] == ["on_hold", "confirmed", "confirmed"]


@contextmanager
def _a_worker_at_a_time(settings: Settings) -> Iterator[Callable[[], None]]:
    """One worker; what is yielded puts another in its place if it has been killed."""
    workers = [_start(settings)]

    def replace() -> None:
        if workers[-1].exitcode is not None:
            assert workers[-1].exitcode == -signal.SIGKILL
            workers.append(_start(settings))

    try:
        yield replace
    finally:
        workers[-1].terminate()
        workers[-1].join()


def _start(settings: Settings) -> BaseProcess:
    worker = _fresh.Process(target=work, args=(settings,))
    worker.start()
    return worker


def _await_settled(shop: Mill, orders: Sequence[int | None], replace: Callable[[], None]) -> None:
    give_up = time.monotonic() + PATIENCE
    while not all(shop.row(order).settled_at for order in orders if order):
        assert time.monotonic() < give_up
        replace()
        time.sleep(0.05)
