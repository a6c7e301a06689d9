"""How long `orders fulfil --file` takes: a file with a shipment for each of many confirmed orders.

    python -m benchmarks.fulfil --orders 19886 --home sqlite

The engine confirms the orders first, 500 at a time; that time is printed separately. Other writers
wait as long as a transaction holds the database, so the longest is printed, too.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.servers import postgres
from pipeline.intake.files.shipments import import_shipments
from pipeline.storage.database import Database
from tests.support import MUG, POSTER, TEE, Mill, an_order

#: Lines of an order, in turn.
LINES = ([(MUG, 2)], [(TEE, 1), (POSTER, 3)], [(MUG, 1), (TEE, 2), (POSTER, 1)])


@contextmanager
def home(kind: str) -> Iterator[Database]:
    """An empty database with the schema."""
    with tempfile.TemporaryDirectory() as there:
        if kind == "sqlite":
            made = Database(f"sqlite:///{there}/ordermill.db")
            made.upgrade()
            yield made
            made.close()
        else:
            with postgres() as url:
                made = Database(url)
                made.upgrade()
                yield made
                made.close()


def confirmed(database: Database, orders: int) -> Mill:
    shop = Mill(database).stocked(units=10 * orders)
    for first in range(0, orders, 500):
        new = [
            an_order(external_id=f"order-{n}", lines=LINES[n % len(LINES)])
            for n in range(first, min(first + 500, orders))
        ]
        shop.intake.accept_all(shop.source, new)
        shop.turn(impatient=False)
    return shop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=19_886)
    parser.add_argument("--home", choices=["sqlite", "postgres"], default="sqlite")
    asked = parser.parse_args()
    with home(asked.home) as database, tempfile.TemporaryDirectory() as there:
        began = time.perf_counter()
        confirmed(database, asked.orders)
        made = time.perf_counter() - began
        file = Path(there) / "shipments.csv"
        lines = (f"shop,order-{n},DHL,00340434{n:012}" for n in range(asked.orders))
        file.write_text("\n".join(["source,external_id,carrier,tracking", *lines]) + "\n")
        pauses: list[float] = []
        last = began = time.perf_counter()

        def on_progress(_: object) -> None:
            nonlocal last
            pauses.append(time.perf_counter() - last)
            last = time.perf_counter()

        cpu = time.process_time()
        tally = import_shipments(database, file, "bench", progress=on_progress)
        took = time.perf_counter() - began
        print(
            f"{asked.home}: {tally.accepted:,} of {asked.orders:,} orders shipped in {took:.1f} s "
            f"({time.process_time() - cpu:.1f} s of our CPU); {len(pauses)} transactions, the first "
            f"{pauses[0]:.2f} s, the last {pauses[-1]:.2f} s, the longest {max(pauses):.2f} s "
            f"(confirmed before in {made:.0f} s)"
        )


if __name__ == "__main__":
    main()
