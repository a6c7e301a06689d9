"""The chain on dramatiq and Redis: five actors, each enqueues the next after its commit."""

import os
import sys

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers import driver, stages

PROCESSES = 2
THREADS = 2
# The default of 1,000 ms doubles the latency at rest, and the lower one costs no throughput.
IDLE_POLL_MS = 20

dramatiq.set_broker(RedisBroker(url=os.environ["REDIS_URL"]))  # type: ignore[no-untyped-call]


@dramatiq.actor
def validate(order_id: int) -> None:
    stages.commit(stages.validate, order_id)
    price.send(order_id)


@dramatiq.actor
def price(order_id: int) -> None:
    stages.commit(stages.price, order_id)
    pay.send(order_id)


@dramatiq.actor
def pay(order_id: int) -> None:
    stages.commit(stages.pay, order_id)
    reserve.send(order_id)


@dramatiq.actor
def reserve(order_id: int) -> None:
    stages.commit(stages.reserve, order_id)
    notify.send(order_id)


@dramatiq.actor
def notify(order_id: int) -> None:
    stages.commit(stages.notify, order_id)


def _worker() -> driver.Command:
    return [
        *(sys.executable, "-m", "dramatiq", "benchmarks.peers.dramatiq_chain"),
        *("--processes", str(PROCESSES), "--threads", str(THREADS)),
    ]


if __name__ == "__main__":
    # The command line has no option for it: its workers read it from their environment.
    os.environ["dramatiq_worker_timeout"] = str(IDLE_POLL_MS)  # noqa: SIM112 - its own spelling
    driver.main(
        driver.Peer(
            name="dramatiq",
            workers=[_worker()],
            enqueue=validate.send,
            settings={
                "processes": PROCESSES,
                "threads": THREADS,
                "idle_poll_ms": IDLE_POLL_MS,
                "orders_per_commit": 1,
            },
        )
    )
