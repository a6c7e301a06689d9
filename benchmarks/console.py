"""`python -m benchmarks.console [pages] [index] [--orders N]`: the console on a million orders, and what its index costs the engine.

Both on a Postgres of our own. The orders are written by statements, not by the engine: the console
is asked how long its pages take, not how they came about.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from fastapi.testclient import TestClient
from sqlalchemy import text

from benchmarks.servers import postgres
from pipeline.assembly import assemble
from pipeline.operators import hash_password
from pipeline.settings import Settings
from pipeline.storage import operators
from pipeline.storage.database import Database
from scheduler.table import JOBS
from tests.support import Mill, an_order
from web.app import create_app

HELD_EVERY, COUNTERS, DISPATCHES, CUSTOMERS = 50, 300_000, 200, 100_000
CHUNK = 250_000
#: What the overview may take of the server's time, however many orders there are.
MOST_MS = 100.0
PASSWORD = "correct horse battery"
PAGES = (
    "/", "/held", "/queues", "/workers", "/orders", "/orders?status=on_hold",
    "/orders?reason=poison", "/orders?external_id=web-77777", "/orders?email=77777@example.com",
    "/orders?status=on_hold&sku=TEE-02", "/orders?sku=TEE-02", "/orders/77777", "/search?q=web-77777",
    "/bulk/requeue?reason=poison", "/stock",
)  # fmt: skip
_ORDERS = f"""
WITH new AS (
    INSERT INTO orders (source_id, external_id, chain, lane, status, stage, reason, currency, approved,
                        version, accepted_at, settled_at, held_at)
    SELECT 1, 'web-' || n, 'capture_first', 0,
           CASE WHEN n % {HELD_EVERY} = 0 THEN 'on_hold' ELSE 'confirmed' END,
           CASE WHEN n % {HELD_EVERY} = 0 THEN 'pay' END,
           CASE WHEN n % {HELD_EVERY} = 0 THEN (ARRAY['poison','payment_unknown','no_tax_rate'])[1 + n / {HELD_EVERY} % 3] END,
           'EUR', false, 1, now() - n * interval '1 second', now() - n * interval '1 second',
           CASE WHEN n % {HELD_EVERY} = 0 THEN now() - n * interval '1 second' END
    FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS n RETURNING id
), documents AS (
    INSERT INTO order_documents (order_id, digest, body, customer)
    SELECT id, '', '{{"customer": {{"email": "' || email || '"}}, "lines": [{{"sku": "MUG-01", "quantity": 2}}]}}',
           -- pipeline.order.email_key
           left(encode(sha256('email\\000'::bytea || convert_to(email, 'UTF8')), 'hex'), 32)
    FROM (SELECT id, id % {CUSTOMERS} || '@example.com' AS email FROM new) AS by_customer
)
INSERT INTO events (order_id, seq, at, kind, to_status, actor) SELECT id, 1, now(), 'received', 'received', 'intake' FROM new;
"""
_WORK = f"""
INSERT INTO counters (at, step, outcome, orders)
SELECT now() - random() * interval '1 day', (ARRAY['validate','price','pay','reserve','notify'])[1 + n % 5],
       CASE WHEN n % 40 = 0 THEN 'held' ELSE 'advanced' END, 17
FROM generate_series(1, {COUNTERS}) AS n;
INSERT INTO dispatches (step, lane, due_at, order_ids, size, attempts, deaths, created_at)
SELECT 'pay', 0, now(), (SELECT '[' || string_agg((n * 500 + i)::text, ',') || ']' FROM generate_series(1, 500) i), 500, 0, 0, now()
FROM generate_series(1, {DISPATCHES}) AS n;
"""
_READ = """
SELECT relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) AS rows FROM pg_stat_user_tables
WHERE relname IN ('orders', 'order_documents', 'events')
"""


def _write(database: Database, orders: int) -> None:
    began = time.monotonic()
    for first in range(1, orders + 1, CHUNK):
        last = min(first + CHUNK - 1, orders)
        with database.transaction() as tx:
            tx.execute(text(_ORDERS), {"first": first, "last": last})
        print(f"{last:,} orders after {time.monotonic() - began:,.0f} s", file=sys.stderr)
    with database.transaction() as tx:
        tx.execute(text(_WORK))


def pages(url: str, orders: int) -> None:
    database = Database(url)
    Mill(database).stocked()
    _write(database, orders)
    with database.transaction() as tx:
        operators.create(tx, "ada", "admin", hash_password(PASSWORD))
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as tx:
        tx.execute(text("VACUUM ANALYZE"))
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(_env_file=None, home=Path(home), database_url=url)  # type: ignore[call-arg]
        app = assemble(settings, Mill(database))
        with TestClient(create_app(app, JOBS), base_url="http://127.0.0.1") as client:
            client.post(
                "/console/sign-in", data={"name": "ada", "password": PASSWORD},
                headers={"Origin": "http://127.0.0.1"},
            )  # fmt: skip
            print(f"{orders:,} orders, {orders // HELD_EVERY:,} on hold, {COUNTERS:,} counters")
            enough = _overview(client, database)
            for path in PAGES:
                took = [_timed(client, path) for _ in range(12)]
                print(
                    f"{path:32} first {took[0]:6.1f} ms, then p50 {statistics.median(took[1:]):6.1f},"
                    f" most {max(took[1:]):6.1f}"
                )
        app.close()
    database.close()
    if not enough:
        raise AssertionError(f"the overview reads orders, or takes more than {MOST_MS:g} ms")


def _timed(client: TestClient, path: str) -> float:
    time.sleep(1.0)  # so that shared figures are not fresh any more
    began = time.perf_counter()
    answer = client.get(f"/console{path}")
    assert answer.status_code == 200, (path, answer.status_code)
    return (time.perf_counter() - began) * 1000


def _overview(client: TestClient, database: Database, times: int = 20) -> bool:
    """Whether it is fast enough, and reads nothing of the tables that grow with every order: then it
    can't become slower by them."""
    before = _rows_read(database)
    took = sorted(_timed(client, "/") for _ in range(times))
    after = _rows_read(database)
    read = {table: (after[table] - before[table]) // times for table in after}
    said = ", ".join(f"{rows} rows of {table}" for table, rows in read.items())
    print(f"the overview: p50 {took[times // 2]:.1f} ms, most {took[-1]:.1f}; each time {said}")
    return not any(read.values()) and took[times // 2] <= MOST_MS


def _rows_read(database: Database) -> dict[str, int]:
    time.sleep(2.5)  # the statistics are written when their writer is at rest
    with database.engine.connect() as tx:
        return {row.relname: row.rows for row in tx.execute(text(_READ))}


def index(url: str, orders: int = 4_000, runs: int = 4) -> None:
    """Orders through the engine with the index of what is on hold, and without, in turn."""
    database = Database(url)
    found: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for run in range(runs * 2):
        there = run % 2 == 0
        with database.transaction() as tx:
            tx.execute(text("TRUNCATE orders, order_documents, order_lines, quotes, events, dispatches, "
                            "payment_operations, reservations, stock_movements, stock_levels, prices, "
                            "products, notifications, counters RESTART IDENTITY CASCADE"))  # fmt: skip
            tx.execute(text("DROP INDEX IF EXISTS ix_orders_held"))
            if there:
                tx.execute(text(
                    "CREATE INDEX ix_orders_held ON orders (reason, held_at) WHERE held_at IS NOT NULL"
                ))  # fmt: skip
        mill = Mill(database).stocked(units=orders * 3)
        mill.intake.accept_all(mill.source, [an_order() for _ in range(orders)])
        with database.engine.connect() as tx:
            before = _updates(tx)
        began = time.perf_counter()
        mill.turn()
        took = time.perf_counter() - began
        time.sleep(1.5)  # the statistics are written when their writer is at rest
        with database.engine.connect() as tx:
            after = _updates(tx)
        hot = (after[1] - before[1]) / max(1, after[0] - before[0])
        found[there].append((orders / took, hot))
    for there, measured in found.items():
        rates = ", ".join(f"{rate:,.0f}" for rate, _ in measured)
        hot = statistics.mean(h for _, h in measured)
        print(
            f"index {'there' if there else 'not there':9}: {rates} orders/s, {hot:.1%} of updates HOT"
        )
    database.close()


def _updates(tx) -> tuple[int, int]:  # type: ignore[no-untyped-def]
    query = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'orders'"
    row = tx.execute(text(query)).one()
    return row.n_tup_upd, row.n_tup_hot_upd


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.console", description=__doc__)
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help="pages, index; both")
    parser.add_argument("--orders", type=int, default=1_000_000, help="that the pages are shown on")
    options = parser.parse_args()
    measures = {"pages": lambda url: pages(url, options.orders), "index": index}
    for name in options.measures or measures:
        with postgres() as url:
            database = Database(url)
            database.upgrade()
            database.close()
            measures[name](url)


if __name__ == "__main__":
    main()
