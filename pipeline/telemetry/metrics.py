"""What each process counts and times of its own work, for Prometheus; docs/telemetry.md has the rest.

What all processes share (queues, orders on hold, outcomes, jobs) is in the database, and is read from
there by whoever serves HTTP: see web/metrics.py. A label has few values, which the code knows: never
an order, a customer, a text from outside.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import (
    REGISTRY,
    Counter,
    Histogram,
    Metric,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from pipeline.chain import STEPS
from pipeline.errors import ConfigurationError
from pipeline.notifications.message import CHANNELS
from pipeline.settings import Settings

# A series more for each, that nothing of ours reads.
disable_created_metrics()  # type: ignore[no-untyped-call] # the client's has no types

_SECONDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip

STAGE_SECONDS = Histogram(
    "ordermill_stage_duration_seconds",
    "Seconds that a batch took in a stage: to claim it, to call out for it, to record it",
    ["stage", "part"],
    buckets=_SECONDS,
)
BATCH_ORDERS = Histogram(
    "ordermill_batch_orders",
    "Orders taken through a stage together",
    ["stage"],
    buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000),
)
ATTEMPTS = Counter(
    "ordermill_stage_attempts",
    "Times that a stage was tried for an order, for the first time or again",
    ["stage", "attempt"],
)
BATCH_FAILURES = Counter(
    "ordermill_batch_failures",
    "Batches whose stage raised, or whose lease was lost to another worker",
    ["stage", "cause"],
)
# The first failure must be seen to come: Prometheus takes a series that begins with 1 for one that
# was 1 before.
for _step in STEPS:
    for _cause in ("raised", "lease_lost"):
        BATCH_FAILURES.labels(_step, _cause)

GATEWAY_SECONDS = Histogram(
    "ordermill_gateway_call_duration_seconds",
    "Seconds that a payment gateway took to answer, by what it answered",
    ["gateway", "call", "answer"],
    buckets=_SECONDS,
)
GATEWAY_REFUSALS = Counter(
    "ordermill_gateway_calls_refused",
    "Calls not made, as the breaker was open or the rate limit reached",
    ["gateway", "cause"],
)
WEBHOOK_ATTEMPTS = Counter(
    "ordermill_webhook_attempts",
    "Attempts to deliver a webhook, by what became of the delivery",
    ["state"],
)
NOTIFICATION_ATTEMPTS = Counter(
    "ordermill_notification_attempts",
    "Attempts to deliver a mail or page, for the first time or again, by what became of it",
    ["channel", "attempt", "state"],
)
# From the first scrape on, so that a rise from none is seen.
for _state in ("delivered", "pending", "failed"):
    WEBHOOK_ATTEMPTS.labels(_state)
    for _channel in CHANNELS:
        for _attempt in ("first", "again"):
            NOTIFICATION_ATTEMPTS.labels(_channel, _attempt, _state)
INTAKE = Counter("ordermill_intake_orders", "Orders sent to this process, by verdict", ["verdict"])
HTTP_SECONDS = Histogram(
    "ordermill_http_request_duration_seconds",
    "Seconds until an answer began",
    ["method", "route"],
    buckets=_SECONDS[2:-1],
)
HTTP_REQUESTS = Counter(
    "ordermill_http_requests", "Requests answered, by status", ["method", "route", "status"]
)


class Exposition(Collector):
    """All that `collectors` have to tell, this process's own figures first."""

    def __init__(self, *collectors: Collector) -> None:
        self._collectors = (REGISTRY, *collectors)

    def collect(self) -> Iterator[Metric]:
        """As Prometheus' client asks of a registry."""
        for collector in self._collectors:
            yield from collector.collect()

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The text and its media type: Prometheus' own, or OpenMetrics for who accepts that."""
        encode, media_type = choose_encoder(accept)
        return encode(self), media_type


@contextmanager
def exposed(settings: Settings, exposition: Exposition | None = None) -> Iterator[None]:
    """While the block runs, answer whoever comes to the address of the settings, if they name a port;
    ConfigurationError if nobody can listen there."""
    if not settings.metrics_port:
        yield
        return
    told = exposition or Exposition()
    try:
        server, thread = start_http_server(
            settings.metrics_port,
            settings.metrics_host,
            told,
        )
    except OSError as error:
        raise ConfigurationError(
            f"can't listen on {settings.metrics_host}, port {settings.metrics_port}: "
            f"{error.strerror}; see ORDERMILL_METRICS_PORT"
        ) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
