"""The chain on Celery and Redis: five tasks, each enqueues the next after its commit."""

import os
import sys

from celery import Celery

from benchmarks.peers import driver, stages

PROCESSES = 4
PREFETCH = 4

app = Celery("peer", broker=os.environ["REDIS_URL"])
# Acknowledge after the commit, so that a killed worker's order comes back; nobody reads results.
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=PREFETCH,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="validate")
def validate(order_id: int) -> None:
    stages.commit(stages.validate, order_id)
    price.delay(order_id)


@app.task(name="price")
def price(order_id: int) -> None:
    stages.commit(stages.price, order_id)
    pay.delay(order_id)


@app.task(name="pay")
def pay(order_id: int) -> None:
    stages.commit(stages.pay, order_id)
    reserve.delay(order_id)


@app.task(name="reserve")
def reserve(order_id: int) -> None:
    stages.commit(stages.reserve, order_id)
    notify.delay(order_id)


@app.task(name="notify")
def notify(order_id: int) -> None:
    stages.commit(stages.notify, order_id)


def _worker() -> driver.Command:
    return [
        *(sys.executable, "-m", "celery", "--app", "benchmarks.peers.celery_chain", "worker"),
        *("--concurrency", str(PROCESSES), "--loglevel", "WARNING"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    ]


if __name__ == "__main__":
    driver.main(
        driver.Peer(
            name="celery",
            workers=[_worker()],
            enqueue=validate.delay,
            settings={"processes": PROCESSES, "prefetch": PREFETCH, "orders_per_commit": 1},
        )
    )
