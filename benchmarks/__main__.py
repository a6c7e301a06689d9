"""python -m benchmarks: Ordermill, its peers and its floors, in one run on one machine; then what
pricing alone can do."""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import machine, peers_venv, pricing, report
from benchmarks.contestants import CONTESTANTS, Contestant, named
from benchmarks.race import Measurement, measure
from benchmarks.servers import POSTGRES_SETTINGS, VALKEY_SETTINGS

HERE = Path(__file__).parent
SERVERS = {**POSTGRES_SETTINGS, **VALKEY_SETTINGS}


def main() -> None:
    options = _options()
    contestants = _present(named(options.only))
    # Whole rounds, one after another: a host that slows down for a while slows everyone down.
    rounds = [_round(contestants, options.orders) for _ in range(options.rounds)]
    latencies = _latencies(contestants, options.latency_orders)
    lines = [
        report.line(each.name, [done[each.name] for done in rounds], latencies.get(each.name))
        for each in contestants
    ]
    raw = [one for done in [*rounds, latencies] for one in done.values()]
    _say("pricing …")
    priced = pricing.measure()
    _write(lines, raw, priced, options.out)
    Console().print(report.as_table(lines, SERVERS))
    Console().print(pricing.as_table(priced))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = [contestant.name for contestant in CONTESTANTS]
    parser.add_argument(
        "--orders", type=int, default=20_000, help="orders for ours; the others run in proportion"
    )
    parser.add_argument("--latency-orders", type=int, default=100, help="one by one, at rest")
    parser.add_argument("--rounds", type=int, default=3, help="the table shows the median")
    parser.add_argument("--only", nargs="+", choices=names, default=[], metavar="NAME")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    return parser.parse_args()


def _present(contestants: Sequence[Contestant]) -> list[Contestant]:
    for contestant in contestants:
        if not contestant.exists():
            _say(f"{contestant.name}: skipped, as there is no {contestant.module} yet")
    return [contestant for contestant in contestants if contestant.exists()]


def _round(contestants: Sequence[Contestant], ours: int) -> dict[str, Measurement]:
    done = {}
    for each in contestants:
        orders = each.orders(ours)
        _say(f"{each.name}: {orders:,} orders …")
        done[each.name] = measure(each, "throughput", orders)
        _say(f"{each.name}: {done[each.name]['orders_per_second']:,.0f} orders/s")
    return done


def _latencies(contestants: Sequence[Contestant], orders: int) -> dict[str, Measurement]:
    done = {}
    for each in contestants:
        if each.rests:
            _say(f"{each.name}: {orders} orders one by one …")
            done[each.name] = measure(each, "latency", orders)
            _say(f"{each.name}: p50 {done[each.name]['latency_ms']['p50']:.0f} ms")
    return done


def _write(
    lines: Sequence[report.Line], raw: Sequence[Measurement], priced: pricing.Json, out: Path
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    figures, chart = out / "bench.json", out / "bench.png"
    content = report.as_json(lines, dict(machine.describe()), SERVERS, raw, priced)
    figures.write_text(json.dumps(content, indent=2) + "\n")
    plot = [str(peers_venv.python()), str(HERE / "plot.py"), str(figures), str(chart)]
    subprocess.run(plot, check=True)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
