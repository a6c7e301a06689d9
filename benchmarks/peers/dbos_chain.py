"""The chain as a DBOS workflow: five transactional steps, orders fed through a DBOS queue."""

import os
import sys
import threading
from functools import cache

from dbos import DBOS, DBOSClient, DBOSConfig, SQLAlchemyDatasource

from benchmarks.peers import driver, shop, stages

PROCESSES = 2
WORKFLOWS_PER_PROCESS = 8
# The default of a second is what an order at rest would wait for; 20 ms costs no throughput.
POLL_SECONDS = 0.02
QUEUE = "orders"

DATABASE_URL = os.environ["DATABASE_URL"]

CONFIG: DBOSConfig = {
    "name": "peer-orders",
    "application_version": "1",
    "system_database_url": DATABASE_URL,
    "log_level": "WARNING",
}


@cache
def datasource() -> SQLAlchemyDatasource:
    return SQLAlchemyDatasource.create(DATABASE_URL, engine=shop.engine(), run_migrations=False)


def step(stage: stages.Stage, order_id: int) -> None:
    """One stage and DBOS's own checkpoint of it in one commit, at the other peers' isolation."""
    source = datasource()
    source.run_tx_step(
        {"name": stage.__name__, "isolation_level": "READ COMMITTED"},
        lambda: stage(source.sql_session(), order_id),
    )


@DBOS.workflow(name="process_order")
def process_order(order_id: int) -> None:
    step(stages.validate, order_id)
    step(stages.price, order_id)
    step(stages.pay, order_id)
    step(stages.reserve, order_id)
    step(stages.notify, order_id)


def work(executor_id: str) -> None:
    """What one worker process does until it is terminated."""
    datasource()
    DBOS(config={**CONFIG, "executor_id": executor_id})
    DBOS.launch()
    threading.Event().wait()


def _prepare() -> None:
    """Create DBOS's tables and the queue before the workers race to."""
    DBOS.migrate(DATABASE_URL)
    SQLAlchemyDatasource.migrate(DATABASE_URL)
    _client().register_queue(
        QUEUE, worker_concurrency=WORKFLOWS_PER_PROCESS, polling_interval_sec=POLL_SECONDS
    )


@cache
def _client() -> DBOSClient:
    return DBOSClient(system_database_url=DATABASE_URL, application_name=CONFIG["name"])


def _enqueue(order_id: int) -> None:
    _client().enqueue({"workflow_name": "process_order", "queue_name": QUEUE}, order_id)


def _worker(number: int) -> driver.Command:
    work = f"from benchmarks.peers import dbos_chain; dbos_chain.work('worker-{number}')"
    return [sys.executable, "-c", work]


if __name__ == "__main__":
    driver.main(
        driver.Peer(
            name="dbos",
            workers=[_worker(number) for number in range(PROCESSES)],
            enqueue=_enqueue,
            prepare=_prepare,
            settings={
                "processes": PROCESSES,
                "workflows_per_process": WORKFLOWS_PER_PROCESS,
                "queue_poll_s": POLL_SECONDS,
                "orders_per_commit": 1,
            },
        )
    )
