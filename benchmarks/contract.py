"""What every contestant answers on its command line.

    python -m benchmarks.NAME throughput --orders N
    python -m benchmarks.NAME latency --orders N

DATABASE_URL and REDIS_URL name fresh, empty servers. The last line on stdout is the `Result`
as JSON; everything else goes to stderr.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import quantiles

Setting = str | int | float | bool


@dataclass(frozen=True)
class Latency:
    """Milliseconds from the commit that accepted an order to the commit that confirmed it."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, samples_ms: Sequence[float]) -> "Latency":
        cuts = quantiles(samples_ms, n=100, method="inclusive")
        return cls(p50=round(cuts[49], 1), p95=round(cuts[94], 1), p99=round(cuts[98], 1))


@dataclass(frozen=True)
class Result:
    """One measurement. `peak_rss_mb` sums the peaks of all worker processes; pages that forked
    workers share are counted in each. Both it and `latency_ms` are None where they mean nothing."""

    name: str
    orders: int
    seconds: float
    orders_per_second: float
    peak_rss_mb: float | None
    latency_ms: Latency | None
    settings: Mapping[str, Setting]

    def as_json(self) -> str:
        return json.dumps(asdict(self))


Measure = Callable[[int], Result]


def main(throughput: Measure, latency: Measure) -> None:
    """Parse the command line, measure, print the one line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("measure", choices=["throughput", "latency"])
    parser.add_argument("--orders", type=int, required=True)
    arguments = parser.parse_args()
    measure = throughput if arguments.measure == "throughput" else latency
    print(measure(arguments.orders).as_json())
