"""Ours, measured as the peers are: `python -m benchmarks.ours throughput|latency --orders N`.

Two worker processes, as the Procfile would run them on two cores. As for the peers, the gateway
answers at once from memory and the notification goes to a sink; everything else is real.

`throughput` takes variations by environment: HISTORY (so many settled orders are in the tables
beforehand), SKUS (so many products are, and orders are spread over all of them) and HOT=1 (all
orders want the same SKU).
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text

from benchmarks import contract
from benchmarks.assortment import an_order, stock_up
from benchmarks.contract import Latency, Result, Setting
from benchmarks.history import write_history
from benchmarks.memory import PeakMemory, peak_memory
from pipeline.assembly import Application, assemble
from pipeline.opening import open_database
from pipeline.pricing.rules import Rules
from pipeline.settings import Settings, load_settings
from pipeline.source import Policy, Source
from pipeline.storage import rules, sources
from workers.announcer import BrokerAnnouncer
from workers.broker import make_broker

NAME = "ordermill"
WORKERS = 2
SKUS = int(os.environ.get("SKUS", "1000"))
WARM_UP_ORDERS = 1_000
LONGEST_WAIT_SECONDS = 300
REST_SECONDS = (0.2, 0.4)
RULES = {
    "tax": {
        "zones": [
            {
                "name": "all",
                "country": "*",
                "rates": {"standard": [{"name": "VAT", "rate": "0.19"}]},
            }
        ]
    }
}


def settings() -> Settings:
    return load_settings(
        database_url=os.environ["DATABASE_URL"],
        broker_url=os.environ["REDIS_URL"],
        webhook_secret="the secret of a benchmark, and none",
        sandbox_book="memory",
        worker_threads=int(os.environ.get("THREADS", "1")),
        batch=int(os.environ.get("BATCH", "1000")),
        log_level="WARNING",
    )


class HeldAnnouncer:
    """Keeps what it is told until it is released: then the clock starts."""

    def __init__(self, url: str) -> None:
        self._announcer = BrokerAnnouncer(make_broker(url, []))
        self._kept: list[tuple[str, int]] = []

    def announce(self, step: str, dispatch_id: int) -> None:
        self._kept.append((step, dispatch_id))

    def release(self) -> None:
        for step, dispatch_id in self._kept:
            self._announcer.announce(step, dispatch_id)
        self._kept.clear()


class Shop:
    """A shop with products and stock, a source, and an intake whose messages are held back."""

    def __init__(self) -> None:
        database = open_database(settings())
        database.upgrade()
        database.close()
        self.announcer = HeldAnnouncer(settings().broker_url)
        self.app: Application = assemble(settings(), self.announcer)
        self.hot = os.environ.get("HOT") == "1"
        self._numbers = iter(range(1, 10**9))
        with self.app.database.transaction() as tx:
            rules.add(tx, "default", Rules.model_validate(RULES), "benchmark")
            sources.put(tx, "shop", Policy(gateway="sandbox", price_policy="as_sold"))
            self.source: Source = sources.by_name(tx, "shop")
        stock_up(self.app.database, SKUS)

    def accept(self, orders: int) -> None:
        while orders > 0:
            size = min(orders, 500)
            batch = [self._order(next(self._numbers)) for _ in range(size)]
            self.app.intake.accept_all(self.source, batch)
            orders -= size

    def unsettled(self) -> int:
        with self.app.database.snapshot() as tx:
            query = text("SELECT count(*) FROM orders WHERE settled_at IS NULL")
            return int(tx.execute(query).scalar_one())

    def wait(self, pause: float = 0.05) -> None:
        deadline = time.monotonic() + LONGEST_WAIT_SECONDS
        while self.unsettled():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.unsettled()} orders were never confirmed")
            time.sleep(pause)

    def require_confirmed(self) -> None:
        with self.app.database.snapshot() as tx:
            query = text("SELECT status, reason, count(*) FROM orders GROUP BY 1, 2")
            found = tx.execute(query).all()
        if [r.status for r in found] != ["confirmed"]:
            raise AssertionError(f"not all orders were confirmed: {found}")

    def _order(self, number: int) -> dict[str, object]:
        skus = (
            [0, 0, 0]
            if self.hot
            # Scattered, so that many SKUs are many pages.
            else [number * factor % SKUS for factor in (7_919, 104_729, 1_299_709)]
        )
        return an_order(f"bench-{number}", skus)


@contextmanager
def warm_workers(shop: Shop) -> Iterator[PeakMemory]:
    workers = [
        subprocess.Popen([sys.executable, "-m", "benchmarks.ours_worker"]) for _ in range(WORKERS)
    ]
    try:
        with peak_memory([w.pid for w in workers]) as memory:
            shop.accept(WARM_UP_ORDERS)
            shop.announcer.release()
            shop.wait()
            yield memory
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()


def throughput(orders: int) -> Result:
    """Time from the first of the messages to the last confirmation."""
    shop = Shop()
    history = int(os.environ.get("HISTORY", "0"))
    write_history(shop.app.database, shop.source.id, history)
    with warm_workers(shop) as memory:
        shop.accept(orders)
        started = time.monotonic()
        shop.announcer.release()
        shop.wait()
        seconds = time.monotonic() - started
    shop.require_confirmed()
    return _result(
        orders, seconds, memory, None, {"history": history, "skus": SKUS, "one_sku": shop.hot}
    )


def latency(orders: int) -> Result:
    """One order at a time through a pipeline at rest, with a pause of uneven length between."""
    shop = Shop()
    with warm_workers(shop) as memory:
        started = time.monotonic()
        for _ in range(orders):
            shop.accept(1)
            shop.announcer.release()
            time.sleep(random.uniform(*REST_SECONDS))
            shop.wait()
        seconds = time.monotonic() - started
    samples = _milliseconds_to_confirm(shop, orders)
    return _result(orders, seconds, memory, Latency.of(samples), {})


def _milliseconds_to_confirm(shop: Shop, orders: int) -> list[float]:
    """Both ends are commit times by the database's clock."""
    query = text(
        "SELECT extract(epoch FROM pg_xact_commit_timestamp(o.xmin)"
        "                        - pg_xact_commit_timestamp(e.xmin)) * 1000"
        " FROM orders o JOIN events e ON e.order_id = o.id AND e.seq = 1"
        " ORDER BY o.id DESC LIMIT :orders"
    )
    with shop.app.database.snapshot() as tx:
        return [float(row[0]) for row in tx.execute(query, {"orders": orders})]


def _result(
    orders: int,
    seconds: float,
    memory: PeakMemory,
    latency_ms: Latency | None,
    more: dict[str, Setting],
) -> Result:
    used = settings()
    return Result(
        name=NAME,
        orders=orders,
        seconds=round(seconds, 2),
        orders_per_second=round(orders / seconds, 1),
        peak_rss_mb=memory.total_mb(),
        latency_ms=latency_ms,
        settings={
            "processes": WORKERS,
            "threads": used.worker_threads,
            "batch": used.batch,
            **more,
        },
    )


if __name__ == "__main__":
    contract.main(throughput, latency)
