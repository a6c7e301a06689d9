"""One actor and queue a step, and one that takes orders in from systems that share the broker."""

from __future__ import annotations

import inspect
import json
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import dramatiq
from dramatiq import Broker

from pipeline.assembly import Application
from pipeline.errors import UnknownSource
from pipeline.intake.accept import Receipt, Verdict
from pipeline.problems import Problem, fit_to_show
from pipeline.redaction import describe
from pipeline.storage import refusals, sources
from workers.messages import INTAKE_ACTOR, INTAKE_QUEUE, PUT_ASIDE, Unreadable, kept

log = logging.getLogger(__name__)

DATABASE_PATIENCE = 1.0


def declare_actors(broker: Broker, app: Application) -> None:
    """Make `broker` know an actor for every step that `app` serves, the intake, and what can't be
    read."""
    for step in app.engine.serves:
        dramatiq.actor(actor_name=step, queue_name=step, broker=broker)(_worker_of(app, step))
    dramatiq.actor(actor_name=INTAKE_ACTOR, queue_name=INTAKE_QUEUE, broker=broker)(_intake_of(app))
    dramatiq.actor(actor_name=PUT_ASIDE, queue_name=INTAKE_QUEUE, broker=broker)(_put_aside_of(app))


def _worker_of(app: Application, step: str) -> Callable[..., None]:
    def hint(dispatch_id: int) -> None: ...

    def work(*args: Any, **kwargs: Any) -> None:
        try:
            _expect(int, "an integer", **_named(hint, args, kwargs))
        except Unreadable as error:
            _put_aside(app, step, error.why, [*args, kwargs])
            return
        try:
            app.engine.work(step)
        except Exception as error:  # an outage is no defect of the message's; all else is raised
            if not app.database.is_disconnect(error):
                raise
            # The dispatch is still there; the scheduler announces it when the database is back.
            log.warning("%s %s is left for later: %s", step, args, type(error).__name__)

    return work


def _intake_of(app: Application) -> Callable[..., None]:
    def message(source: str, orders: list[Any]) -> None: ...

    def accept_orders(*args: Any, **kwargs: Any) -> None:
        try:
            named = _named(message, args, kwargs)
            _expect(str, "the name of a source", source=named["source"])
            _expect(list, "a list of orders", orders=named["orders"])
        except Unreadable as error:
            _put_aside(app, INTAKE_QUEUE, error.why, [*args, kwargs])
        else:
            _take_in(app, **named)

    return accept_orders


def _take_in(app: Application, source: str, orders: Sequence[Any]) -> None:
    """Here the message is the truth until its orders are committed, so it is not acknowledged before;
    while the database is away, it waits. An order that provokes a defect is put aside, alone."""
    try:
        return _patiently(app, f"{len(orders)} orders wait", lambda: _accept(app, source, orders))
    except Exception as error:  # what fails by a defect is put aside with its reason
        why = f"a defect: {describe(error)}"[:500]
        if len(orders) <= 1:
            log.exception("an order of a message could not be taken in")
            return _put_aside(app, INTAKE_QUEUE, why, [source, orders])
    log.warning("%d orders can't be taken in together: %s", len(orders), why)
    middle = len(orders) // 2
    _take_in(app, source, orders[:middle])
    return _take_in(app, source, orders[middle:])


def _put_aside_of(app: Application) -> Callable[[str, str, str, int], None]:
    def put_aside(queue: str, why: str, message: str, size: int) -> None:
        # Not why: that quotes the message.
        log.error("a message on %s is put aside: see `ordermill refusals ls`", queue)

        def write() -> None:
            with app.database.transaction() as tx:
                refusals.put_aside(tx, queue, why, message, size)

        _patiently(app, "a message that can't be read waits", write)

    return put_aside


def _put_aside(app: Application, queue: str, why: str, arguments: Sequence[Any]) -> None:
    body = json.dumps(arguments).encode()
    _put_aside_of(app)(queue, why, kept(body), len(body))


def _named(actor: Callable[..., None], args: Any, kwargs: Any) -> dict[str, Any]:
    """The arguments by the names that `actor` has for them; Unreadable if they don't fit."""
    wanted = inspect.signature(actor)
    try:
        return wanted.bind(*args, **kwargs).arguments
    except TypeError as error:
        names = ", ".join(wanted.parameters)
        raise Unreadable(f"args: {error}; expected {names}") from None


def _expect(kind: type, wanted: str, **named: Any) -> None:
    for name, value in named.items():
        if not isinstance(value, kind):
            raise Unreadable(f"{name}: got {json.dumps(value)[:100]}, expected {wanted}")


def _patiently(app: Application, what: str, act: Callable[[], None]) -> None:
    """Do it, however long the database is away."""
    while True:
        try:
            return act()
        except Exception as error:  # an outage is waited for, all else is raised again
            if not app.database.is_disconnect(error):
                raise
            log.warning("%s for the database", what)
            time.sleep(DATABASE_PATIENCE)


def _accept(app: Application, source_name: str, orders: Sequence[dict[str, Any]]) -> None:
    """Nobody waits for a verdict, so what is refused is written where operators see it."""
    try:
        with app.database.transaction() as tx:
            source = sources.by_name(tx, source_name)
    except UnknownSource:
        source_name = fit_to_show(source_name)  # whatever it is, it is written down
        problem = Problem("source", source_name, "one that `ordermill sources ls` shows")
        receipts = [Receipt(Verdict.REJECTED, None, problems=(problem,)) for _ in orders]
    else:
        receipts = app.intake.accept_all(source, orders)
    refused = [r for r in receipts if r.verdict in (Verdict.REJECTED, Verdict.CONFLICT)]
    with app.database.transaction() as tx:
        refusals.add(tx, source_name, [(r.external_id, r.reasons) for r in refused])
