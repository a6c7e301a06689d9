"""What is told of a batch while it is taken through a step: its size, its log's context, its trace."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pipeline.engine.claim import Batch
from pipeline.order import Order
from pipeline.redaction import describe
from pipeline.storage.orders import Move
from pipeline.telemetry import logs, metrics, tracing
from pipeline.telemetry.tracing import BatchSpan, Told

log = logging.getLogger(__name__)


class Watch:
    """One batch in one step; `span` is None if nothing of it is traced."""

    def __init__(self, batch: Batch, span: BatchSpan | None) -> None:
        self._batch = batch
        self._span = span

    def recorded(self, moves: Sequence[Move]) -> None:
        """These are committed."""
        if self._span is not None:
            traced = {o.id: o for o in self._batch.everyone if o.traceparent is not None}
            try:
                self._span.tell(_told(traced[m.order_id], m) for m in moves if m.order_id in traced)
            except Exception as error:  # what is committed goes on, whoever is told of it
                log.warning("a batch's traces are not told: %s", describe(error))

    def failed(self, cause: str) -> None:
        """The stage raised, or another has the batch."""
        metrics.BATCH_FAILURES.labels(self._batch.step, cause).inc()
        if self._span is not None:
            self._span.fail(cause)


@contextmanager
def watched(batch: Batch) -> Iterator[Watch]:
    """Watch over a batch that is taken through its step in the block."""
    orders = batch.everyone
    again = sum(order.attempt > 1 for order in orders)
    metrics.BATCH_ORDERS.labels(batch.step).observe(len(orders))
    metrics.ATTEMPTS.labels(batch.step, "again").inc(again)
    metrics.ATTEMPTS.labels(batch.step, "first").inc(len(orders) - again)
    alone = orders[0].traceparent if len(orders) == 1 else None
    with (
        logs.bound(
            stage=batch.step,
            dispatches=batch.dispatch_ids,
            orders=lambda: [order.id for order in orders[: logs.MOST_ORDERS]],
            batch_size=len(orders),
        ),
        tracing.batch(batch.step, lambda: _traceparents(orders)) as span,
        tracing.within(alone),
    ):
        yield Watch(batch, span)


def _traceparents(orders: Sequence[Order]) -> list[str]:
    return [order.traceparent for order in orders if order.traceparent is not None]


def _told(order: Order, move: Move) -> Told:
    """An order's view of a step: a decline is business, what a person must look at is an error."""
    attributes: dict[str, str | int] = {
        "ordermill.order.id": order.id,
        "ordermill.attempt": order.attempt,
        "ordermill.outcome": move.kind,
        "ordermill.status": move.target.value,
    }
    if move.reason is not None:
        attributes["ordermill.reason"] = move.reason
    error = move.reason if move.kind == "held" else None
    return Told(order.traceparent or "", attributes, error)
