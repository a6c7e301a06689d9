"""What shoppers are owed of a process that is busy with an import."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from sqlalchemy import text

from pipeline.engine import lanes
from pipeline.engine.claim import claim
from pipeline.engine.engine import Limits
from pipeline.engine.lanes import Lanes
from pipeline.order import Lane
from pipeline.source import Policy, Source
from pipeline.storage import dispatches, orders
from tests.support import Mill, an_order

MakeMill = Callable[..., Mill]
INTERACTIVE, BULK = Lane.INTERACTIVE.rank, Lane.BULK.rank


@pytest.fixture
def shop(mill: MakeMill) -> Mill:
    return mill(serves=[], limits=Limits(batch=2, bulk=1)).stocked()


@pytest.fixture
def imports(shop: Mill) -> Source:
    return shop.another_source("imports", Policy(lane="bulk"))


def accept(shop: Mill, source: Source, *sizes: int) -> None:
    """A dispatch of each size."""
    for size in sizes:
        shop.intake.accept_all(source, [an_order() for _ in range(size)])


def test_beside_bulk_work_in_hand_only_what_is_interactive_is_taken(
    shop: Mill, imports: Source
) -> None:
    accept(shop, imports, 2, 2)

    with shop.engine._lanes.visit("validate") as other:
        other.admit(BULK)
        turned_away = shop.engine.work("validate")
        accept(shop, shop.source, 1)
        taken = shop.engine.work("validate")

    assert (turned_away, taken) == (0, 1)
    assert shop.query("SELECT count(*) FROM dispatches WHERE lease IS NOT NULL") == [(0,)]


def test_who_was_turned_away_is_called_again_when_there_is_a_place(
    shop: Mill, imports: Source
) -> None:
    accept(shop, imports, 2)
    with shop.engine._lanes.visit("validate") as other:
        other.admit(BULK)
        shop.engine.work("validate")
        shop.announced.clear()
        shop.engine.work("pay")  # there is no place yet
        early = list(shop.announced)

    shop.engine.work("pay")
    shop.engine.work("pay")

    assert early == []
    assert [step for step, _ in shop.announced] == ["validate"]
    assert shop.engine.work("validate") == 2


def test_a_step_that_hangs_does_not_keep_its_place_from_others(
    shop: Mill, imports: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept(shop, imports, 2)

    with shop.engine._lanes.visit("pay") as hangs:
        hangs.admit(BULK)
        turned_away = shop.engine.work("validate")
        monkeypatch.setattr(lanes, "HUNG_AFTER", 0.0)
        taken = shop.engine.work("validate")

    assert (turned_away, taken) == (0, 2)


def test_a_claim_that_fails_leaves_its_place_to_others(
    shop: Mill, imports: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept(shop, imports, 2)
    load = orders.load

    def fail(*_: object) -> None:
        raise RuntimeError("the connection broke")

    monkeypatch.setattr(orders, "load", fail)
    with pytest.raises(RuntimeError):
        shop.engine.work("validate")
    monkeypatch.setattr(orders, "load", load)

    assert shop.engine.work("validate") == 2


def test_a_bulk_batch_begins_no_step_while_a_shopper_is_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lanes, "PATIENCE", 30.0)
    process, seen = Lanes(1), list[str]()
    with process.visit("validate") as shopper, process.visit("validate") as bulk:
        assert shopper.admit(INTERACTIVE)
        assert bulk.admit(BULK)

        def serve() -> None:
            time.sleep(0.05)
            seen.append("served")
            shopper.leave()

        serving = threading.Thread(target=serve)
        serving.start()
        bulk.give_way()
        seen.append("went on")
        serving.join()

    assert seen == ["served", "went on"]


def test_a_shopper_whose_gateway_is_slow_does_not_stop_an_import(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lanes, "PATIENCE", 0.02)
    process = Lanes(1)
    with process.visit("pay") as shopper, process.visit("validate") as bulk:
        assert shopper.admit(INTERACTIVE)
        assert bulk.admit(BULK)
        began = time.monotonic()
        bulk.give_way()

    assert time.monotonic() - began >= 0.02  # and not for ever, as the shopper is still there


def test_beside_shoppers_bulk_orders_are_taken_in_portions(
    shop: Mill, imports: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "PORTION", 1)
    accept(shop, imports, 1, 1, 1, 1)

    alone = shop.engine.work("validate")
    accept(shop, shop.source, 1, 1)
    shoppers = shop.engine.work("validate")
    beside = shop.engine.work("validate")

    assert (alone, shoppers, beside) == (2, 2, 1)


def test_shoppers_wait_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "PATIENCE", threading.TIMEOUT_MAX)
    process = Lanes(1)
    seen = []
    with process.visit("pay") as first, process.visit("pay") as second:
        assert first.admit(INTERACTIVE)
        assert second.admit(INTERACTIVE)
        second.give_way()
        seen.append("second went on")
        first.leave()
        seen.append("first left")

    assert seen == ["second went on", "first left"]


def test_of_a_backlog_a_claim_reads_and_locks_what_it_takes_and_one_more(
    shop: Mill, imports: Source
) -> None:
    accept(shop, imports, *[2] * 5)
    accept(shop, shop.source, 1, 1, 1)

    with shop.database.transaction() as tx:
        found = dispatches.lock_due(tx, "validate", 4)

    assert [(d.lane, len(d.order_ids)) for d in found] == [
        *[(INTERACTIVE, 1)] * 3, *[(BULK, 2)] * 2,
    ]  # fmt: skip


def test_what_is_due_behind_suspects_is_taken_however_many_orders_they_hold(
    shop: Mill,
) -> None:
    accept(shop, shop.source, 2, 2, 2, 1)
    with shop.database.transaction() as tx:
        tx.execute(text("UPDATE dispatches SET deaths = 2 WHERE size = 2"))

    with shop.database.transaction() as tx:
        taken = claim(tx, "validate", 2, 15.0, avoid_suspects=True)

    assert taken is not None
    assert len(taken.orders) == 1
