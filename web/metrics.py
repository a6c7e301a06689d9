"""How the whole shop is doing, for Prometheus: read from the database, which all processes share.

Any process that serves HTTP tells the same of it, so one of them is enough to ask; each adds what it
counts of its own work (pipeline/telemetry/metrics.py).
"""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from pipeline import overview
from pipeline.chain import STEPS
from pipeline.notifications.message import CHANNELS
from pipeline.order import Lane
from pipeline.storage import (
    clock,
    counters,
    dispatches,
    job_runs,
    notifications,
    queues,
    webhooks,
)
from pipeline.storage.database import Database, Tx
from pipeline.telemetry.metrics import Exposition
from web.callers import Scraper
from web.console.pulse import Kept
from web.routing import ALWAYS

log = logging.getLogger(__name__)
router = APIRouter(tags=["process"], responses=ALWAYS)

#: Minutes after which a count is taken to be committed; a transaction takes seconds.
COMMITTED = timedelta(minutes=5)
#: After so long without a look all is read anew: what was counted has been rolled up meanwhile.
ROLLED_UP = timedelta(days=1)
_EVER, _NEVER = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)

AUDIT = "audit"
ROLES = ("worker", "scheduler", "web")


class Totals:
    """All that was ever counted, by (step, outcome). What is long committed is read once."""

    def __init__(self) -> None:
        self._over = Counter[tuple[str, str]]()
        self._until = _EVER

    def read(self, tx: Tx) -> Counter[tuple[str, str]]:
        now = clock.read(tx)
        if now - self._until > ROLLED_UP:
            self._over, self._until = Counter(), _EVER
        until = max(self._until, overview.begin(now - COMMITTED, timedelta(minutes=1)))
        self._over += counters.between(tx, self._until, until)
        self._until = until
        return self._over + counters.between(tx, until, _NEVER)


class Shop(Collector):
    """Read at most once a second, and for a twentieth of the time; while the database is away, there
    is nothing but that."""

    def __init__(
        self, database: Database, jobs: Collection[str], gateways: Collection[str]
    ) -> None:
        self._database = database
        self._jobs = sorted(jobs)
        self._gateways = sorted(gateways)
        self._totals = Totals()
        self._lock = threading.Lock()
        self._kept = Kept(self._read)

    def collect(self) -> Iterator[Metric]:
        """As Prometheus' client asks of a collector."""
        try:
            with self._lock, self._database.snapshot() as tx:
                found = self._kept.get(tx)
        except Exception as error:  # without a database, what this process knows is told
            if not self._database.is_disconnect(error):
                raise
            log.warning("the shop's figures can't be read: %s", type(error).__name__)
            found = []
        up = GaugeMetricFamily(
            "ordermill_database_up", "Whether the database answered", bool(found)
        )
        yield from [up, *found]

    def _read(self, tx: Tx) -> list[Metric]:
        now = clock.read(tx)
        return [
            *_queues(tx, now),
            *_held(tx, now),
            *_outcomes(self._totals.read(tx)),
            *_webhooks(tx, now),
            *_notifications(tx),
            *_processes(tx, self._gateways),
            *_jobs(tx, self._jobs),
        ]


def _queues(tx: Tx, now: datetime) -> Iterable[Metric]:
    orders = GaugeMetricFamily(
        "ordermill_queue_orders",
        "Orders in a queue: all that wait or are worked on, those due and not taken, those in hand",
        labels=["queue", "lane", "state"],
    )
    age = GaugeMetricFamily(
        "ordermill_queue_oldest_due_seconds",
        "Seconds for which the oldest has been due that nobody works on",
        labels=["queue", "lane"],
    )
    paused = GaugeMetricFamily(
        "ordermill_queue_paused", "Whether somebody has paused the queue", labels=["queue"]
    )
    found = {(r.step, r.lane): r for r in dispatches.by_lane(tx)}
    stopped = queues.paused(tx)
    for step in STEPS:
        paused.add_metric([step], step in stopped)
        for lane in Lane:
            row = found.get((step, lane.rank))
            for state, column in (("all", "orders"), ("due", "due"), ("running", "running")):
                orders.add_metric([step, lane, state], int(getattr(row, column, 0)))
            age.add_metric([step, lane], _since(now, getattr(row, "due_since", None)))
    return orders, age, paused


def _held(tx: Tx, now: datetime) -> Iterable[Metric]:
    orders = GaugeMetricFamily(
        "ordermill_orders_on_hold", "Orders that wait for a person", labels=["reason"]
    )
    age = GaugeMetricFamily(
        "ordermill_orders_on_hold_oldest_seconds",
        "Seconds for which the oldest of them has waited",
        labels=["reason"],
    )
    for each in overview.held(tx):
        orders.add_metric([each.reason], each.orders)
        age.add_metric([each.reason], _seconds(now - each.oldest))
    return orders, age


def _outcomes(totals: Counter[tuple[str, str]]) -> Iterable[Metric]:
    outcomes = CounterMetricFamily(
        "ordermill_stage_orders",
        "Orders that left a stage, by what became of them there",
        labels=["stage", "outcome"],
    )
    lapsed = CounterMetricFamily(
        "ordermill_lease_expired_orders",
        "Orders whose worker died, hung or lost the database while it had them",
        labels=["stage"],
    )
    for step in STEPS:
        lapsed.add_metric([step], totals[step, counters.LAPSED])
    for (step, outcome), orders in sorted(totals.items()):
        if outcome != counters.LAPSED:
            outcomes.add_metric([step, outcome], orders)
    return outcomes, lapsed


def _webhooks(tx: Tx, now: datetime) -> Iterable[Metric]:
    endpoints = GaugeMetricFamily(
        "ordermill_webhook_endpoints", "Endpoints of webhooks, by how they are", labels=["state"]
    )
    failing = GaugeMetricFamily(
        "ordermill_webhook_failing_seconds",
        "Seconds for which an endpoint has done nothing but fail, of that which has for longest",
    )
    read_until = GaugeMetricFamily(
        "ordermill_webhook_read_until_timestamp_seconds",
        "Up to when events were made into deliveries for all endpoints that are well",
    )
    due = GaugeMetricFamily(
        "ordermill_webhook_deliveries_due",
        "Deliveries to be attempted now, by the state of their endpoint",
        labels=["state"],
    )
    age = GaugeMetricFamily(
        "ordermill_webhook_oldest_due_seconds",
        "Seconds for which the oldest of them has been due",
        labels=["state"],
    )
    found = webhooks.by_state(tx)
    for state in webhooks.STATES:
        row = found.get(state)
        endpoints.add_metric([state], getattr(row, "endpoints", 0))
        due.add_metric([state], int(getattr(row, "due", None) or 0))
        age.add_metric([state], _since(now, getattr(row, "due_since", None)))
    failing.add_metric([], _since(now, getattr(found.get("failing"), "failing_since", None)))
    if "enabled" in found:
        read_until.add_metric([], found["enabled"].read_until.timestamp())
    return endpoints, failing, read_until, due, age


def _notifications(tx: Tx) -> Iterable[Metric]:
    pending = GaugeMetricFamily(
        "ordermill_notifications_pending",
        "Mails and pages yet to be delivered: never tried, or to be tried again",
        labels=["channel", "attempt"],
    )
    found = notifications.waiting(tx)
    for channel in CHANNELS:
        for attempt in ("first", "again"):
            pending.add_metric([channel, attempt], found.get((channel, attempt == "again"), 0))
    return [pending]


def _processes(tx: Tx, gateways: Collection[str]) -> Iterable[Metric]:
    there = GaugeMetricFamily(
        "ordermill_processes", "Processes that gave a sign of life lately", labels=["role"]
    )
    breakers = GaugeMetricFamily(
        "ordermill_gateway_breaker_open",
        "Processes that leave a gateway alone, as it failed them",
        labels=["gateway"],
    )
    alive = [process for process in overview.all_processes(tx) if process.alive]
    for role in ROLES:
        there.add_metric([role], sum(process.role == role for process in alive))
    for gateway in gateways:
        breakers.add_metric([gateway], sum(gateway in process.breakers for process in alive))
    return there, breakers


def _jobs(tx: Tx, jobs: Collection[str]) -> Iterable[Metric]:
    # `job` is what Prometheus calls those it asks.
    ended, done = job_runs.ended(tx, jobs), job_runs.ended(tx, jobs, well=True)
    state = GaugeMetricFamily(
        "ordermill_job_last_result",
        "How the last run of a job's schedule ended: 1 for that result, 0 for the others",
        labels=["job_name", "result"],
    )
    at = GaugeMetricFamily(
        "ordermill_job_last_success_timestamp_seconds",
        "When a run last ended that didn't fail",
        labels=["job_name"],
    )
    took = GaugeMetricFamily(
        "ordermill_job_last_success_duration_seconds", "What that run took", labels=["job_name"]
    )
    broken = GaugeMetricFamily(
        "ordermill_audit_broken", "What the last audit found against a rule", labels=["rule"]
    )
    for job in jobs:
        if job in ended:
            for result in ("fine", "problem", "failed"):
                state.add_metric([job, result], ended[job].state == result)
        if job in done:
            at.add_metric([job], done[job].finished_at.timestamp())
            took.add_metric([job], _seconds(done[job].finished_at - done[job].started_at))
    for rule in _rules(done.get(AUDIT)):
        broken.add_metric([rule["rule"]], rule["broken"])
    return state, at, took, broken


def _rules(run: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [] if run is None else json.loads(run.result)["rules"]
    return found


def _seconds(span: timedelta) -> float:
    return max(0.0, span.total_seconds())


def _since(now: datetime, began: datetime | None) -> float:
    return 0.0 if began is None else _seconds(now - began)


@router.get(
    "/metrics",
    operation_id="metrics",
    response_class=Response,
    responses={
        200: {"description": "As Prometheus reads it", "content": {
            "text/plain": {"schema": {"type": "string"}}}},
    },
)  # fmt: skip
def metrics(caller: Scraper, request: Request) -> Response:
    """How the shop and this process are doing. docs/telemetry.md names what is told."""
    exposition: Exposition = request.app.state.exposition
    text, media_type = exposition.render(request.headers.get("accept", ""))
    return Response(text, media_type=media_type)
