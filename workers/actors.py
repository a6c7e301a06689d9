"""One actor and queue a step, and one that takes orders in from systems that share the broker."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import dramatiq
from dramatiq import Broker

from pipeline.assembly import Application
from pipeline.errors import UnknownSource
from pipeline.intake.accept import Receipt, Verdict
from pipeline.intake.schema import Problem
from pipeline.storage import refusals, sources

log = logging.getLogger(__name__)

INTAKE_QUEUE = "intake"
DATABASE_PATIENCE = 1.0


def declare_actors(broker: Broker, app: Application) -> None:
    """Make `broker` know an actor for every step that `app` serves, and the intake."""
    for step in app.engine.serves:
        dramatiq.actor(actor_name=step, queue_name=step, broker=broker)(_worker_of(app, step))
    dramatiq.actor(actor_name="accept_orders", queue_name=INTAKE_QUEUE, broker=broker)(
        _intake_of(app)
    )


def _worker_of(app: Application, step: str) -> Callable[[int], None]:
    def work(dispatch_id: int) -> None:
        try:
            app.engine.work(step)
        except Exception as error:
            if not app.database.is_disconnect(error):
                raise
            # The dispatch is still there; the scheduler announces it when the database is back.
            log.warning("%s %d is left for later: %s", step, dispatch_id, type(error).__name__)

    return work


def _intake_of(app: Application) -> Callable[[str, list[dict[str, Any]]], None]:
    def accept_orders(source: str, orders: list[dict[str, Any]]) -> None:
        """Here the message is the truth until its orders are committed, so it is not acknowledged
        before; while the database is away, it waits."""
        while True:
            try:
                return _accept(app, source, orders)
            except Exception as error:
                if not app.database.is_disconnect(error):
                    raise
                log.warning("%d orders wait for the database", len(orders))
                time.sleep(DATABASE_PATIENCE)

    return accept_orders


def _accept(app: Application, source_name: str, orders: Sequence[dict[str, Any]]) -> None:
    """Nobody waits for a verdict, so what is refused is written where operators see it."""
    try:
        with app.database.transaction() as tx:
            source = sources.by_name(tx, source_name)
    except UnknownSource as error:
        problem = Problem("source", repr(source_name), str(error))
        receipts = [Receipt(Verdict.REJECTED, None, problems=(problem,)) for _ in orders]
    else:
        receipts = app.intake.accept_all(source, orders)
    refused = [r for r in receipts if r.verdict in (Verdict.REJECTED, Verdict.CONFLICT)]
    with app.database.transaction() as tx:
        refusals.add(tx, source_name, [(r.external_id, r.problems) for r in refused])
