"""python -m benchmarks.files: memory of an import whose orders' rows stand apart, by the file's size.

Files of 1,000,000 and of 10,000,000 rows, four an order, of which 1 % stand 50,000 rows further down
than the rest of their order. Each is imported in a process of its own, by an intake that accepts all
and keeps nothing. Tells the peak of resident memory and the time; exits with 1 if an order was not
whole, if the larger file takes more than 1.2 times the memory of the smaller, or more than 300 MB.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.intake.accept import Intake, Receipt, Verdict
from pipeline.intake.files.importer import import_orders
from pipeline.intake.files.mapping import Mapping
from pipeline.source import Policy, Source

SIZES = (1_000_000, 10_000_000)
ROWS_AN_ORDER = 4
ONE_APART_IN = 100
APART_BY = 50_000
MOST_RATIO, MOST_MB = 1.2, 300

MAPPING = Mapping.model_validate(
    {
        "order_key": "Order",
        "order": {
            "currency": {"value": "EUR"},
            "ship_to": {"country": {"value": "DE"}},
            "payment": {"method": {"value": "invoice"}},
        },
        "line": {
            "sku": {"column": "Sku"}, "quantity": {"column": "Qty"}, "unit_price": {"column": "Price"},
        },
    }
)  # fmt: skip


@dataclass(frozen=True)
class Measured:
    rows: int
    orders: int
    peak_mb: float
    seconds: float


class Willing(Intake):
    """Accepts everything and keeps nothing."""

    def __init__(self) -> None:
        pass

    def accept_all(self, source: Source, batch: Sequence[Any]) -> list[Receipt]:
        return [Receipt(Verdict.ACCEPTED, document.external_id, 1) for document in batch]


def write(path: Path, rows: int) -> None:
    with path.open("w") as file:
        file.write("Order,Sku,Qty,Price\n")
        file.writelines(_lines(rows))


def _lines(rows: int) -> Iterator[str]:
    late: deque[tuple[int, str]] = deque()
    for n in range(rows):
        line = f"web-{n // ROWS_AN_ORDER:08},SKU-{n % 997},1,10.00\n"
        if n % ONE_APART_IN == 0:
            late.append((n + APART_BY, line))
        else:
            yield line
        while late and late[0][0] <= n:
            yield late.popleft()[1]
    yield from (line for _, line in late)


def measure(path: Path, rows: int) -> Measured:
    """In this process, which should have done nothing else."""
    source = Source(id=1, name="shop", policy=Policy(price_policy="as_sold"))
    began = time.perf_counter()
    summary = import_orders(Willing(), source, path, MAPPING)
    seconds = time.perf_counter() - began
    whole = -(-rows // ROWS_AN_ORDER)
    if (summary.accepted, summary.rows) != (whole, rows) or summary.accepted_value[
        "EUR"
    ] != rows * 1000:
        raise SystemExit(f"{whole:,} orders in {rows:,} rows were written, read were {summary}")
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Measured(rows, summary.accepted, round(kilobytes / 1024, 1), round(seconds, 1))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--rows", type=int, nargs="+", default=SIZES, help="sizes of the files")
    options.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.measure:
        print(json.dumps(asdict(measure(given.measure, given.rows[0]))))
        return
    found = []
    for rows in given.rows:
        found.append(each := _in_its_own_process(rows))
        print(
            f"{each.rows:>12,} rows {each.orders:>11,} orders {each.peak_mb:>7} MB "
            f"{each.seconds:>7} s {each.rows / each.seconds:>9,.0f} rows/s",
            flush=True,
        )
    ratio = found[-1].peak_mb / found[0].peak_mb
    print(f"memory: {ratio:.3f} times (at most {MOST_RATIO}), at most {MOST_MB} MB")
    sys.exit(0 if ratio <= MOST_RATIO and found[-1].peak_mb <= MOST_MB else 1)


def _in_its_own_process(rows: int) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "orders.csv"
        write(path, rows)
        command = [sys.executable, "-m", "benchmarks.files", "--rows", str(rows), "--measure", path]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return Measured(**json.loads(done.stdout))


if __name__ == "__main__":
    main()
