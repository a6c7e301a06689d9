"""How every peer is measured: start its workers, warm them up, feed them orders, wait."""

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import text

from benchmarks import contract
from benchmarks.contract import Latency, Result, Setting
from benchmarks.memory import PeakMemory, peak_memory
from benchmarks.peers import shop

WARM_UP_ORDERS = 40
LONGEST_WAIT_SECONDS = 300
REST_SECONDS = (0.2, 0.4)


def _nothing() -> None:
    pass


Command = Sequence[str]


@dataclass(frozen=True)
class Peer:
    name: str
    workers: Sequence[Command]
    enqueue: Callable[[int], object]
    settings: Mapping[str, Setting]
    prepare: Callable[[], None] = _nothing


def main(peer: Peer) -> None:
    contract.main(
        throughput=lambda orders: throughput(peer, orders),
        latency=lambda orders: latency(peer, orders),
    )


def throughput(peer: Peer, orders: int) -> Result:
    """Time from the first of `orders` messages to the last confirmation."""
    with _warm_workers(peer) as memory:
        ids = shop.accept_orders(orders)
        started = time.monotonic()
        _enqueue(peer, ids)
        _wait_until_confirmed(ids)
        seconds = time.monotonic() - started
    return _result(peer, orders, seconds, memory, latency=None)


def latency(peer: Peer, orders: int) -> Result:
    """One order at a time through a pipeline at rest, with a pause of uneven length between."""
    ids: list[int] = []
    with _warm_workers(peer) as memory:
        started = time.monotonic()
        for _ in range(orders):
            accepted = shop.accept_orders(1)
            _enqueue(peer, accepted)
            time.sleep(random.uniform(*REST_SECONDS))
            _wait_until_confirmed(accepted)
            ids.extend(accepted)
        seconds = time.monotonic() - started
    return _result(peer, orders, seconds, memory, Latency.of(_milliseconds_to_confirm(ids)))


def _result(
    peer: Peer, orders: int, seconds: float, memory: PeakMemory, latency: Latency | None
) -> Result:
    return Result(
        name=peer.name,
        orders=orders,
        seconds=round(seconds, 2),
        orders_per_second=round(orders / seconds, 1),
        peak_rss_mb=memory.total_mb(),
        latency_ms=latency,
        settings=peer.settings,
    )


@contextmanager
def _warm_workers(peer: Peer) -> Iterator[PeakMemory]:
    """Workers that have connected, imported and compiled what they need before the clock runs."""
    shop.open_shop()
    peer.prepare()
    with _running(peer.workers) as pids, peak_memory(pids) as memory:
        ids = shop.accept_orders(WARM_UP_ORDERS)
        _enqueue(peer, ids)
        _wait_until_confirmed(ids)
        yield memory


@contextmanager
def _running(workers: Sequence[Command]) -> Iterator[list[int]]:
    processes = [_start(worker) for worker in workers]
    try:
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            _stop(process)


def _start(worker: Command) -> subprocess.Popen[bytes]:
    return subprocess.Popen(worker, stdout=sys.stderr)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _enqueue(peer: Peer, ids: Sequence[int]) -> None:
    for order_id in ids:
        peer.enqueue(order_id)


def _wait_until_confirmed(ids: Sequence[int]) -> None:
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    while (missing := _unconfirmed(ids)) > 0:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{missing} of {len(ids)} orders were never confirmed.")
        time.sleep(0.05)


def _unconfirmed(ids: Sequence[int]) -> int:
    query = text(
        "SELECT count(*) FROM peer_orders"
        " WHERE id BETWEEN :first AND :last AND status <> 'confirmed'"
    )
    with shop.engine().connect() as connection:
        found = connection.execute(query, {"first": min(ids), "last": max(ids)})
        return int(found.scalar_one())


def _milliseconds_to_confirm(ids: Sequence[int]) -> list[float]:
    """Both ends are commit times by the database's clock: the last transaction that wrote the
    order is the one that confirmed it, the one that wrote its first event accepted it."""
    query = text(
        "SELECT extract(epoch FROM pg_xact_commit_timestamp(peer_orders.xmin)"
        "                        - pg_xact_commit_timestamp(accepted.xmin)) * 1000"
        " FROM peer_orders JOIN peer_timeline_events AS accepted"
        "   ON accepted.order_id = peer_orders.id AND accepted.status = 'received'"
        " WHERE peer_orders.id = ANY(:ids)"
    )
    with shop.engine().connect() as connection:
        return [float(row[0]) for row in connection.execute(query, {"ids": list(ids)})]
