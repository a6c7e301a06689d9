"""deliver-notifications: what could not be delivered is tried again, as long as it still holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import Float, literal, update

from pipeline import operations
from pipeline.notifications.deliver import Courier
from pipeline.notifications.message import Failed, Notification
from pipeline.notifications.outbox import MOST_ATTEMPTS
from pipeline.storage.sql import now
from pipeline.storage.tables import notifications
from scheduler.jobs import deliver_notifications as deliver
from scheduler.jobs.deliver_notifications import deliver_notifications
from scheduler.table import JOBS
from tests.support import Inbox, Mill

MakeMill = Callable[..., Mill]


class Away(Inbox):
    def send(self, notifications: Sequence[Notification]) -> Any:
        return iter([Failed("nobody there")] * len(notifications))


def confirmed_untold(shop: Mill) -> int:
    """An order that is confirmed, but its mail could not be delivered."""
    shop.engine.steps["notify"].courier = Courier(Away(), Away())  # type: ignore[attr-defined]
    order = shop.accept()
    shop.turn()
    assert shop.status(order) == "confirmed"
    return order


def run_later(shop: Mill, sender: Inbox | None = None) -> tuple[dict[str, int], Inbox]:
    """The job, when all that waits is due; what it did and what arrived."""
    with shop.database.transaction() as tx:
        tx.execute(update(notifications).values(due_at=now()))
    inbox = sender or Inbox()
    app: Any = SimpleNamespace(database=shop.database, courier=Courier(inbox, inbox))
    return deliver_notifications(app), inbox


def test_what_could_not_be_delivered_is_delivered_later(mill: MakeMill) -> None:
    shop = mill().stocked()
    order = confirmed_untold(shop)

    done, inbox = run_later(shop)

    assert done == {"tried": 1, "delivered": 1, "withdrawn": 0}
    assert [n.order_id for n in inbox.received] == [order]


def test_who_was_cancelled_meanwhile_is_not_told_that_all_is_well(mill: MakeMill) -> None:
    shop = mill().stocked()
    order = confirmed_untold(shop)
    with shop.database.transaction() as tx:
        operations.cancel(tx, order, "ada")
    shop.turn()

    done, inbox = run_later(shop)

    assert shop.status(order) == "cancelled"
    assert (done, inbox.received) == ({"tried": 0, "delivered": 0, "withdrawn": 1}, [])
    assert shop.query("SELECT state FROM notifications") == [("withdrawn",)]


def test_those_behind_many_who_were_cancelled_are_told_in_the_same_run(
    mill: MakeMill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "MOST", 1)
    shop = mill().stocked()
    cancelled, left = confirmed_untold(shop), confirmed_untold(shop)
    with shop.database.transaction() as tx:
        operations.cancel(tx, cancelled, "ada")
    shop.turn()

    done, inbox = run_later(shop)

    assert done == {"tried": 1, "delivered": 1, "withdrawn": 1}
    assert [n.order_id for n in inbox.received] == [left]


def test_who_asks_for_the_job_has_all_tried_that_wait_and_none_that_is_being_sent(
    mill: MakeMill,
) -> None:
    shop = mill().stocked()
    waits, is_sent = confirmed_untold(shop), confirmed_untold(shop)
    with shop.database.transaction() as tx:
        tx.execute(update(notifications).values(due_at=now(literal(600.0, Float))))
        of_stage = notifications.c.order_id == is_sent
        tx.execute(update(notifications).where(of_stage).values(attempts=0))
    inbox = Inbox()
    app: Any = SimpleNamespace(database=shop.database, courier=Courier(inbox, inbox))

    by_schedule = deliver_notifications(app)
    with shop.database.transaction() as tx:
        JOBS["deliver-notifications"].ask(tx, "cli:ada")
    asked_for = deliver_notifications(app)

    assert (by_schedule["tried"], asked_for["tried"]) == (0, 1)
    assert [n.order_id for n in inbox.received] == [waits]


def counted() -> dict[str, float]:
    return {
        f"{attempt} {state}": REGISTRY.get_sample_value(
            "ordermill_notification_attempts_total",
            {"channel": "email", "attempt": attempt, "state": state},
        )
        or 0.0
        for attempt in ("first", "again")
        for state in ("delivered", "pending", "failed")
    }


def test_attempts_are_counted_the_stages_and_the_jobs_by_what_became_of_them(
    mill: MakeMill,
) -> None:
    shop = mill().stocked()
    before = counted()

    shop.accept()
    shop.turn()
    confirmed_untold(shop)
    run_later(shop)
    confirmed_untold(shop)
    with shop.database.transaction() as tx:
        tx.execute(update(notifications).values(attempts=MOST_ATTEMPTS - 1))
    run_later(shop, Away())

    rise = {what: after - before[what] for what, after in counted().items()}
    assert rise == {
        "first delivered": 1, "first pending": 2, "first failed": 0,
        "again delivered": 1, "again pending": 0, "again failed": 1,
    }  # fmt: skip
