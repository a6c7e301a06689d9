"""An order that waits on for the same cause is counted: its timeline tells of the first look alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline import operations
from pipeline.audit.audit import audit
from pipeline.payments.gateway import Answer, Call, Unavailable, Unknown
from pipeline.payments.sandbox import SandboxGateway
from pipeline.storage import dispatches, feed, stock, views
from pipeline.storage.tables import metadata
from tests.support import MUG, TEE, Mill

MakeMill = Callable[..., Mill]
AWAY = Unavailable("connection refused")


class Gateway(SandboxGateway):
    """A sandbox that answers so to whatever it is asked, until it is told to be well."""

    def __init__(self, answer: Answer | None = AWAY) -> None:
        super().__init__(None)
        self.answer = answer
        self.on_call: Callable[[], None] = lambda: None

    def perform(self, call: Call) -> Answer:
        self.on_call()
        return self.answer or super().perform(call)


def look(shop: Mill, times: int = 1, step: str = "pay") -> None:
    """As if the time of the next look had come, so often."""
    for _ in range(times):
        shop.make_due()
        shop.engine.work(step)


def events(shop: Mill, order: int, kind: str | None = None) -> list[dict[str, Any]]:
    with shop.database.snapshot() as tx:
        found = views.one(tx, order)
        views.tell_wait(found, dispatches.holding(tx, order))
    told = [{**e, "detail": json.loads(e["detail"] or "{}")} for e in found["events"]]
    return [e for e in told if kind in (None, e["kind"])]


def rows(shop: Mill) -> dict[str, int]:
    return {
        name: shop.query(f"SELECT count(*) FROM {name}")[0][0]
        for name in metadata.tables
        if name != "counters"  # by minute and outcome, whatever the orders
    }


def broken_rules(shop: Mill) -> list[str]:
    return [finding.what for finding in audit(shop.database, shop.gateways).findings]


def test_looks_at_the_same_cause_are_one_event(mill: MakeMill) -> None:
    gateway = Gateway()
    shop = mill(gateway=gateway).stocked()
    order = shop.accept()
    shop.turn(impatient=False)

    look(shop, 9)
    [waiting] = events(shop, order, "retried")
    version = shop.row(order).version
    gateway.answer = None
    shop.turn()

    assert (waiting["reason"], waiting["detail"]["attempt"]) == ("gateway_unavailable", 1)
    assert waiting["detail"]["looks"] == 10
    assert datetime.fromisoformat(waiting["detail"]["last_look"]) <= datetime.now(UTC)
    assert version == waiting["seq"]
    assert shop.status(order) == "confirmed"
    told = events(shop, order)
    assert [e["kind"] for e in told].count("retried") == 1
    [paid] = [e for e in told if e["to_status"] == "paid"]
    assert (paid["detail"]["looks"], paid["detail"]["waited_for"]) == (10, "gateway_unavailable")
    assert "looks" not in told[-1]["detail"]


def test_a_night_s_outage_adds_no_row_to_any_table(mill: MakeMill) -> None:
    shop = mill(gateway=Gateway()).stocked()
    for _ in range(50):
        shop.accept()
    shop.turn(impatient=False)
    look(shop)
    before = rows(shop)

    look(shop, 50)

    assert rows(shop) == before
    assert before["events"] == 50 * 4  # received, advanced twice, retried
    assert before["dispatches"] < 10


def test_another_cause_is_another_event(mill: MakeMill) -> None:
    gateway = Gateway()
    shop = mill(gateway=gateway).stocked()
    order = shop.accept()
    shop.turn(impatient=False)
    look(shop, 2)
    gateway.answer = Unknown("time-out")
    look(shop, 3)
    gateway.answer = AWAY
    look(shop)

    told = [(e["reason"], e["detail"].get("looks")) for e in events(shop, order, "retried")]

    assert told == [
        ("gateway_unavailable", None),
        ("payment_unknown", 3),
        ("gateway_unavailable", 3),
    ]


def test_each_order_has_a_count_of_its_own_though_they_share_a_dispatch(mill: MakeMill) -> None:
    shop = mill(gateway=Gateway()).stocked()
    early = shop.accept()
    shop.turn(impatient=False)
    look(shop, 4)
    late = shop.accept()
    shop.turn(impatient=False)
    look(shop, 3)

    assert len(shop.query("SELECT 1 FROM dispatches")) == 1
    counts = [events(shop, order, "retried")[0]["detail"]["looks"] for order in (early, late)]
    assert counts[0] - counts[1] == 4


def test_tries_that_run_out_end_in_a_hold_that_tells_how_many_they_were(mill: MakeMill) -> None:
    shop = mill(gateway=Gateway(Unknown("time-out"))).stocked()

    order = shop.accept()
    shop.turn()

    *_, retried, held = events(shop, order)
    assert (retried["kind"], held["kind"]) == ("retried", "held")
    assert held["detail"] == {
        "cause": "time-out", "gave_up_after": 8, "waited_for": "payment_unknown", "looks": 7,
    }  # fmt: skip


@pytest.mark.parametrize("first", [True, False])
def test_a_cancellation_that_comes_while_an_order_is_looked_at_is_obeyed_at_once(
    mill: MakeMill, first: bool
) -> None:
    gateway = Gateway()
    shop = mill(gateway=gateway).stocked()
    order = shop.accept()
    others = [shop.accept() for _ in range(3)]
    shop.turn(impatient=False)
    look(shop, 0 if first else 5)

    def cancel() -> None:
        with shop.database.transaction() as tx:
            operations.cancel(tx, order, "test")

    gateway.on_call = cancel
    look(shop)
    gateway.on_call = lambda: None

    assert shop.status(order) == "cancelling"
    assert [shop.status(each) for each in others] == ["priced"] * 3
    gateway.answer = None
    shop.turn()
    assert shop.status(order) == "cancelled"
    assert [shop.status(each) for each in others] == ["confirmed"] * 3
    assert broken_rules(shop) == []


def test_an_undo_that_waits_is_counted_and_keeps_why_it_is_undone(mill: MakeMill) -> None:
    gateway = Gateway(None)
    shop = mill(gateway=gateway).stocked()
    order = shop.accept()
    shop.turn()
    gateway.answer = AWAY
    with shop.database.transaction() as tx:
        operations.cancel(tx, order, "test")

    look(shop, 1, "undo_reserve")
    look(shop, 5, "undo_pay")
    [retried] = events(shop, order, "retried")
    gateway.answer = None
    shop.turn()

    assert (retried["reason"], retried["detail"]["cause"]) == ("cancelled", "gateway_unavailable")
    assert retried["detail"]["looks"] == 5
    assert shop.status(order) == "cancelled"
    assert broken_rules(shop) == []


def test_who_waits_for_stock_adds_no_event_however_often_it_is_looked_at(mill: MakeMill) -> None:
    shop = mill().stocked(units=0, backorder=True)
    order = shop.accept(lines=[(MUG, 1), (TEE, 1)])
    other = shop.accept(lines=[(TEE, 1)])
    shop.turn()
    for _ in range(20):
        with shop.database.transaction() as tx:
            waiting = dispatches.lock_waiting(tx, [order, other])
            dispatches.hasten(tx, waiting, [order])
        shop.engine.work("reserve")

    [waits] = events(shop, order, "retried")
    assert (waits["reason"], waits["detail"]["looks"]) == ("awaiting_stock", 21)
    assert [e["detail"].get("looks") for e in events(shop, other, "retried")] == [None]
    with shop.database.transaction() as tx:
        stock.post(tx, [stock.Movement(sku, "main", "receipt", 5) for sku in (MUG, TEE)], "test")
    shop.turn()
    assert [shop.status(each) for each in (order, other)] == ["confirmed"] * 2
    assert broken_rules(shop) == []


def test_who_follows_the_feed_is_told_of_a_wait_once(mill: MakeMill) -> None:
    gateway = Gateway()
    shop = mill(gateway=gateway).stocked()
    order = shop.accept()
    shop.turn(impatient=False)
    position = feed.Position(datetime(2000, 1, 1, tzinfo=UTC))
    told: list[tuple[int, str]] = []
    for n in range(10):
        if n == 8:
            gateway.answer = None
        look(shop)
        page = feed.read(shop.database, position, None, 100)
        told += [(e["seq"], e["kind"]) for e in page.events]
        position = page.end
    shop.turn()
    page = feed.read(shop.database, position, None, 100)
    told += [(e["seq"], e["kind"]) for e in page.events]

    assert [seq for seq, _ in told] == list(range(1, len(told) + 1))
    assert [kind for _, kind in told] == shop.timeline(order)
    assert [kind for _, kind in told].count("retried") == 1


def test_a_requeue_begins_anew(mill: MakeMill) -> None:
    gateway = Gateway(Unknown("time-out"))
    shop = mill(gateway=gateway).stocked()
    order = shop.accept()
    shop.turn()
    assert shop.status(order) == "on_hold"

    gateway.answer = AWAY
    with shop.database.transaction() as tx:
        operations.requeue(tx, [order], "operator:ada")
    look(shop, 3)

    told = [(e["kind"], e["reason"]) for e in events(shop, order)][-2:]
    assert told[-1] == ("retried", "gateway_unavailable")
    assert events(shop, order)[-1]["detail"]["looks"] == 3
