"""python -m benchmarks.intake: single orders over HTTP, 64 connections, each answered when it is durable.

Beside them, turn by turn in the same server, the same orders to an endpoint that parses the body into
the same model and does nothing else: the floor that HTTP and JSON set. Tells the ratio of the two, and
how long answers took. Then `ordermill web` takes orders in and is killed in the middle, again and again;
what it said that it had is compared with what is there.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from fastapi import FastAPI
from sqlalchemy import text

from benchmarks.contract import Latency
from benchmarks.deployment import Deployment, deployed, wait_until_ready
from benchmarks.load import CONNECTIONS, Outcome, Plan, external_id
from benchmarks.ports import free_port
from ordermill.processes import WebProcess, run_until_signalled
from ordermill.session import configure_logging
from pipeline.intake.schema import OrderIn
from pipeline.settings import load_settings

ACCEPTED, PARSED = "/v1/orders", "/parsed"
WARM_UP_ORDERS = 2_000
LEAST_RATIO = 0.4
#: Orders are numbered across the whole run; no phase comes to another's.
PHASE = 100_000_000
KILLED = 1_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.intake", description=__doc__)
    parser.add_argument("--orders", type=int, default=10_000, help="a turn, of each kind")
    parser.add_argument("--rounds", type=int, default=4, help="turns of each kind")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("serve", nargs="?", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    with deployed("shop") as deployment:
        found = race(deployment, options.orders, options.rounds)
        found["killed"] = kill(deployment, options.orders, options.kills)
    print(json.dumps(found, indent=2))


def serve(port: int) -> None:
    """`ordermill web`, with the endpoint that it is compared with."""
    settings = load_settings()
    configure_logging(settings)
    process = WebProcess(settings, "127.0.0.1", port)
    _mount(process._asgi)
    run_until_signalled(process)


def _mount(app: FastAPI) -> None:
    async def parse(order: OrderIn) -> dict[str, str]:
        return {"external_id": order.external_id}

    app.post(PARSED, status_code=202)(parse)


def race(deployment: Deployment, orders: int, rounds: int) -> dict[str, object]:
    port, key = free_port(), deployment.key("shop")
    server = deployment.run("benchmarks.intake", str(port))
    wait_until_ready(port)
    for path in (PARSED, ACCEPTED):
        _load(Plan(port, path, key, WARM_UP_ORDERS))
    parsed: list[Outcome] = []
    accepted: list[Outcome] = []
    for turn in range(rounds):
        first = (turn + 1) * PHASE
        parsed.append(_load(Plan(port, PARSED, key, orders, first)))
        accepted.append(_load(Plan(port, ACCEPTED, key, orders, first)))
        _say(f"{_rate(parsed[-1]):,.0f} parsed/s, {_rate(accepted[-1]):,.0f} accepted/s")
    deployment.stop(server)
    ratios = [_rate(a) / _rate(p) for a, p in zip(accepted, parsed, strict=True)]
    return {
        "connections": CONNECTIONS,
        "parsed_per_second": [round(_rate(each)) for each in parsed],
        "accepted_per_second": [round(_rate(each)) for each in accepted],
        "ratio": round(median(ratios), 3),
        "enough": median(ratios) >= LEAST_RATIO,
        "parsed_ms": asdict(_median([each.latency_ms for each in parsed])),
        "accepted_ms": asdict(_median([each.latency_ms for each in accepted])),
        "load_generator_cpu": round(
            median(each.cpu_seconds / each.seconds for each in accepted), 2
        ),
    }


def _load(plan: Plan) -> Outcome:
    outcome = Outcome.of(plan.start())
    if outcome.statuses != {"202": plan.orders} or outcome.broken:
        raise AssertionError(f"not every order was answered with 202: {outcome}")
    return outcome


def _rate(outcome: Outcome) -> float:
    return sum(outcome.statuses.values()) / outcome.seconds


def _median(of: Sequence[Latency]) -> Latency:
    return Latency(*(median(getattr(each, cut) for each in of) for cut in ("p50", "p95", "p99")))


def kill(deployment: Deployment, orders: int, kills: int) -> dict[str, object]:
    """Of `orders` that are sent, each until it is answered: every one is there once, under the id
    that the 202 told. The server dies `kills` times, evenly spread."""
    port, key = free_port(), deployment.key("shop")
    server = deployment.start("web", "--port", str(port))
    wait_until_ready(port)
    before = _kept(deployment)
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal"
        plan = Plan(port, ACCEPTED, key, orders, KILLED * PHASE, str(journal))
        load = plan.start()
        for dead in range(kills):
            _wait_for_lines(journal, (dead + 1) * orders // (kills + 1))
            deployment.kill(server)
            server = deployment.start("web", "--port", str(port))
        outcome = Outcome.of(load)
        told = dict(line.split() for line in journal.read_text().splitlines())
    deployment.stop(server)
    kept = _kept(deployment) - before
    sent = {external_id(plan.first + n) for n in range(orders)}
    missing = {
        external_id(int(name)): int(order_id) for name, order_id in told.items()
    }.items() - kept
    found = {
        "kills": kills,
        "sent": orders,
        "statuses": outcome.statuses,
        "connections_broken": outcome.broken,
        "journal": len(told),
        "of_the_journal_missing": len(missing),
        "kept": len(kept),
        "dispatched": _dispatched(deployment) - len(before),
    }
    if len(told) != outcome.statuses["202"]:
        raise AssertionError(f"the journal has not every 202: {found}")
    if missing or {name for name, _ in kept} != sent or len(kept) != orders != found["dispatched"]:
        raise AssertionError(f"what was told is not what is there: {found}")
    return found


def _wait_for_lines(journal: Path, lines: int) -> None:
    while not journal.exists() or journal.read_bytes().count(b"\n") < lines:
        time.sleep(0.05)


def _kept(deployment: Deployment) -> set[tuple[str, int]]:
    """Every order, by external_id and id: of a list, so that two of one are two."""
    with deployment.database.snapshot() as tx:
        rows = tx.execute(text("SELECT external_id, id FROM orders")).all()
    return {(row.external_id, row.id) for row in rows}


def _dispatched(deployment: Deployment) -> int:
    """Orders that are due for the first stage: nobody works here, so all that there are."""
    with deployment.database.snapshot() as tx:
        return int(tx.execute(text("SELECT sum(size) FROM dispatches")).scalar_one())


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
