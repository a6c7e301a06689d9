"""expire-held: what nobody has decided on in time is cancelled, and undone as by a person's hand."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import update

from pipeline import operations
from pipeline.engine.engine import Engine
from pipeline.payments.sandbox import SandboxGateway
from pipeline.source import Policy
from pipeline.storage.sql import now
from pipeline.storage.tables import orders
from scheduler.jobs import expire_held as module
from scheduler.jobs.expire_held import expire_held
from tests.support import Mill

MakeMill = Callable[..., Mill]
HOUR = 3600


@pytest.fixture
def shop(mill: MakeMill) -> Mill:
    """Orders above 15.00 EUR wait for a person, for an hour at most."""
    policy = Policy(hold_over={"EUR": 1500}, hold_expires_after=HOUR)
    return mill(policy=policy, gateway=SandboxGateway(None)).stocked()


def held(shop: Mill, *, seconds: float) -> int:
    """An order that has been on hold for so long."""
    order = shop.accept()
    shop.turn()
    assert shop.status(order) == "on_hold"
    with shop.database.transaction() as tx:
        tx.execute(update(orders).where(orders.c.id == order).values(settled_at=now(-seconds)))
    return order


def expire(shop: Mill) -> int:
    app: Any = SimpleNamespace(database=shop.database, engine=shop.engine)
    assert isinstance(shop.engine, Engine)
    done = expire_held(app)["cancelled"]
    shop.turn()
    return done


def test_who_is_on_hold_for_too_long_is_cancelled_by_the_job(shop: Mill) -> None:
    order = held(shop, seconds=HOUR + 5)

    done = expire(shop)

    assert (done, shop.status(order)) == (1, "cancelled")
    assert shop.row(order).reason == "hold_expired"
    [asked] = shop.query(
        "SELECT actor, reason FROM events WHERE order_id = :id AND kind = 'cancel_requested'",
        id=order,
    )
    assert (asked.actor, asked.reason) == ("expire-held", "hold_expired")


def test_who_still_has_time_is_left_alone(shop: Mill) -> None:
    order = held(shop, seconds=HOUR - 60)

    assert (expire(shop), shop.status(order)) == (0, "on_hold")


def test_without_the_policy_orders_stay_on_hold_for_ever(shop: Mill) -> None:
    patient = shop.another_source("patient", Policy(hold_over={"EUR": 1500}))
    shop.source = patient
    order = held(shop, seconds=1000 * HOUR)

    assert (expire(shop), shop.status(order)) == (0, "on_hold")


def test_what_was_done_for_it_is_undone(shop: Mill) -> None:
    order = shop.accept(lines=[("MUG-01", 1)])
    shop.turn()
    assert shop.status(order) == "confirmed"
    other = held(shop, seconds=HOUR + 5)
    with shop.database.transaction() as tx:  # held at the very end: paid and reserved
        tx.execute(
            update(orders)
            .where(orders.c.id == order)
            .values(
                status="on_hold",
                stage="notify",
                settled_at=now(-HOUR - 5),
                held_at=now(-HOUR - 5),
            )
        )

    done = expire(shop)

    assert (done, shop.status(order), shop.status(other)) == (2, "cancelled", "cancelled")
    assert shop.query("SELECT * FROM reservations") == []
    assert [e.kind for e in shop.gateway.book()][-1] == "refund"


def test_who_is_held_while_being_undone_waits_for_a_person(shop: Mill) -> None:
    order = held(shop, seconds=HOUR + 5)
    with shop.database.transaction() as tx:
        tx.execute(update(orders).where(orders.c.id == order).values(stage="undo_pay"))

    assert (expire(shop), shop.status(order)) == (0, "on_hold")


def test_many_are_cancelled_in_sets(shop: Mill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    waiting = [held(shop, seconds=HOUR + 5) for _ in range(5)]

    done = expire(shop)

    assert done == 5
    assert {shop.status(order) for order in waiting} == {"cancelled"}


def test_one_run_is_bounded_and_the_next_does_the_rest(
    shop: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    monkeypatch.setattr(module, "SETS", 1)
    for _ in range(3):
        held(shop, seconds=HOUR + 5)

    assert [expire(shop) for _ in range(3)] == [2, 1, 0]


def test_who_was_requeued_in_time_goes_on(shop: Mill) -> None:
    order = held(shop, seconds=HOUR + 5)
    with shop.database.transaction() as tx:
        operations.requeue(tx, [order], "ada")

    assert (expire(shop), shop.status(order)) == (0, "confirmed")
