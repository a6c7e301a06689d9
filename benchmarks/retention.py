"""python -m benchmarks.retention: a shop's past goes into the archive while orders come in.

Seeds settled, shipped orders of long ago, and lets two workers do orders while `archive-orders` moves
the past, until all of it is moved. In the first rounds the job waits every other time, between two
batches, so that both throughputs are of the same minutes and the same tables. Tells their ratio, the pace of the move,
and the most memory that it had used at 10,000 orders and at the end.
"""

import argparse
import fcntl
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from sqlalchemy import text

from benchmarks.history import write_history
from benchmarks.ours import Shop, settings, warm_workers
from benchmarks.servers import fresh_servers
from pipeline import retention
from pipeline.intake.schema import read_order
from pipeline.opening import open_database
from pipeline.storage.database import Database

SOURCE = "past"
DAYS_AGO = 400
EARLY = 10_000
LEAST_RATIO = 0.8
# On top of a shop's recent past: it was shipped, long ago, by people with names and addresses.
_LONG_OVER = (
    "DELETE FROM reservations",
    "UPDATE orders SET accepted_at = now() - interval '{days} days',"
    " settled_at = now() - interval '{days} days' WHERE source_id = :source",
    "UPDATE events SET at = now() - interval '{days} days'",
    "UPDATE order_documents SET body = :body",
    "UPDATE quotes SET steps = :steps",
    """INSERT INTO shipments (order_id, reference, digest, actor, at)
       SELECT id, 'S-1', md5(external_id), 'carrier', settled_at FROM orders""",
    """INSERT INTO shipment_lines (shipment_id, line_no, location, order_id, sku, units)
       SELECT s.id, l.line_no, 'main', l.order_id, l.sku, l.quantity
       FROM shipments s JOIN order_lines l ON l.order_id = s.order_id""",
)
_DOCUMENT = {
    "external_id": "past-1", "currency": "EUR",
    "customer": {"email": "ada@example.com", "name": "Ada Lovelace", "id": "c-1815"},
    "ship_to": {"country": "DE", "postal_code": "72074", "city": "Tübingen", "street": "Am Markt 1"},
    "lines": [{"sku": f"SKU-{n:04}", "quantity": 2} for n in range(3)],
    "payment": {"method": "pm_card_visa"},
}  # fmt: skip
_STEPS = [
    *({"step": "price", "line": n, "unit_price": 1250, "origin": "catalogue"} for n in (1, 2, 3)),
    {"step": "tax", "zone": "all", "rates": [{"name": "VAT", "rate": "0.19"}], "tax": 1425},
]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retention", description=__doc__)
    parser.add_argument("--orders", type=int, default=1_000_000, help="that are long over")
    parser.add_argument("--round", type=int, default=20_000, help="orders of a round of traffic")
    parser.add_argument("--rounds", type=int, default=8, help="of each kind, to compare")
    parser.add_argument("move", nargs="?", choices=["move"], help=argparse.SUPPRESS)
    parser.add_argument("--turn", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.move:
        move(options.turn)
        return
    with fresh_servers() as servers:
        os.environ.update(DATABASE_URL=servers.database_url, REDIS_URL=servers.redis_url)
        print(json.dumps(measure(options.orders, options.round, options.rounds), indent=2))


def measure(orders: int, size: int, rounds: int) -> dict[str, object]:
    """Alone and beside, turn by turn, on the same data; then beside it until the end."""
    shop = Shop()
    _seed(shop.app.database, orders)
    with warm_workers(shop), tempfile.NamedTemporaryFile() as turn:
        began = time.monotonic()
        job = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.retention", "move", "--turn", turn.name],
            stdout=subprocess.PIPE,
            text=True,
        )
        alone: list[float] = []
        beside: list[float] = []
        for _ in range(rounds):
            with _locked(turn):
                alone.append(_round(shop, size))
            beside.append(_round(shop, size))
        later: list[float] = []
        while job.poll() is None:
            later.append(_round(shop, size))
        told = job.communicate()[0]
        lasted = time.monotonic() - began
    if job.returncode:
        raise subprocess.CalledProcessError(job.returncode, job.args)
    moved = json.loads(told.splitlines()[-1])
    with shop.app.database.snapshot() as tx:
        archived = tx.execute(text("SELECT count(*) FROM archived_orders")).scalar_one()
    if (archived, moved["moved"]) != (orders, orders):
        raise AssertionError(f"{archived} orders of {orders} were archived: {told}")
    without, with_it = (size * len(each) / sum(each) for each in (alone, beside))
    return {
        "archived": archived,
        "seconds": round(lasted, 1),
        "archived_per_second": round(moved["moved"] / moved["seconds"]),
        "rss_mb_at_10000": moved["rss_mb_early"],
        "rss_mb_at_end": moved["rss_mb"],
        "orders_per_second_alone": round(without),
        "orders_per_second_beside": round(with_it),
        "orders_per_second_later": round(size * len(later) / sum(later)) if later else None,
        "rounds_later": len(later),
        "ratio": round(with_it / without, 3),
        "enough": with_it / without >= LEAST_RATIO,
    }


def _seed(database: Database, orders: int) -> None:
    with database.transaction() as tx:
        policy = json.dumps({"archive_after": 365, "price_policy": "as_sold"})
        row = "INSERT INTO sources (name, policy, created_at) VALUES (:n, :p, now()) RETURNING id"
        source = tx.execute(text(row), {"n": SOURCE, "p": policy}).scalar_one()
    write_history(database, source, orders)
    body = read_order(_DOCUMENT).body
    with database.transaction() as tx:
        for statement in _LONG_OVER:
            values = {"source": source, "body": body, "steps": json.dumps(_STEPS)}
            tx.execute(text(statement.format(days=DAYS_AGO)), values)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
        connection.execute(text("CHECKPOINT"))


def _round(shop: Shop, size: int) -> float:
    """Seconds from the first message to the last confirmation."""
    shop.accept(size)
    began = time.monotonic()
    shop.announcer.release()
    shop.wait()
    return time.monotonic() - began


@contextmanager
def _locked(file: IO[Any]) -> Iterator[None]:
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def move(turn: Path) -> None:
    """What the job does, in a process of its own, as a scheduler would be; while somebody has `turn`
    locked, it waits between two batches."""
    database = open_database(settings())
    early: list[float] = []
    waited = 0.0

    def progress(moved: int) -> None:
        nonlocal waited
        if moved >= EARLY and not early:
            early.append(_rss_mb())
        began = time.monotonic()
        with turn.open() as file, _locked(file):
            waited += time.monotonic() - began

    with database.snapshot() as tx:
        due = retention.due(tx, "archive_after")
    began = time.monotonic()
    moved = retention.archive_all(database, due, retention.Pace(), progress)
    seconds = time.monotonic() - began - waited
    told = {"rss_mb_early": early[0] if early else None, "rss_mb": _rss_mb()}
    print(json.dumps({"moved": moved, "seconds": seconds, **told}))


def _rss_mb() -> float:
    """The most that this process has had in memory so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


if __name__ == "__main__":
    main()
