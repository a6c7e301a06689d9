"""Queues, jobs and stock: steered by hand, in the operator's name."""

from __future__ import annotations

import pytest

from tests.support import MUG, Mill
from tests.web.console.conftest import Browser, logged


def test_a_queue_is_paused_and_resumed(grace: Browser, shop: Mill) -> None:
    paused = grace.do("/queues/pay/pause").text
    shop.accept()
    shop.turn()
    held_up = shop.query("SELECT step FROM dispatches")
    grace.do("/queues/pay/resume")

    assert "pay is paused." in paused
    assert "paused by operator:grace" in paused
    assert held_up == [("pay",)]
    assert shop.query("SELECT 1 FROM queues") == []
    assert [entry[1:3] for entry in logged(shop)] == [("queue.pause", "pay"), ("queue.resume", "pay")]  # fmt: skip


def test_a_job_is_asked_for_and_left_to_a_scheduler(grace: Browser, shop: Mill) -> None:
    answer = grace.do("/jobs/roll-up-counters/run")

    assert "waits for a scheduler" in answer.text
    asked = shop.query("SELECT job, state, asked_by FROM job_runs")
    assert asked == [("roll-up-counters", "waiting", "operator:grace")]
    assert logged(shop) == [("grace", "job.run", "roll-up-counters", "done")]


def on_hand(shop: Mill) -> int:
    [row] = shop.query("SELECT on_hand FROM stock_levels WHERE sku = :sku", sku=MUG)
    return int(row.on_hand)


def test_stock_is_adjusted_with_a_reason(grace: Browser, shop: Mill) -> None:
    asked = "?sku=MUG-01&units=-2&reason=broken"

    page = grace.text(f"/stock/adjust{asked}")
    looked = on_hand(shop)
    answer = grace.do("/stock/adjust", asked)

    assert "MUG-01 at main: 100 on hand now, 98 after (-2)." in page
    assert (looked, on_hand(shop)) == (100, 98)
    assert "-2 written." in answer.text
    moved = shop.query("SELECT actor, reason FROM stock_movements WHERE kind = 'adjustment'")
    assert moved == [("operator:grace", "broken")]
    assert logged(shop) == [("grace", "stock.adjust", "MUG-01", "done")]


def test_an_adjustment_that_is_sent_twice_is_made_once(grace: Browser, shop: Mill) -> None:
    form = grace.form_of("/stock/adjust?sku=MUG-01&units=-2&reason=broken")

    answers = [grace.post("/stock/adjust", **form).status_code for _ in range(2)]

    assert (answers, on_hand(shop)) == ([200, 409], 98)


def test_stock_is_counted_as_of_when_the_page_was_made(grace: Browser, shop: Mill) -> None:
    answer = grace.do("/stock/count", "?sku=MUG-01&units=97")

    assert "-3 written." in answer.text
    assert on_hand(shop) == 97


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/stock/adjust?sku=MUG-01&units=-200&reason=x", "fewer would be left"),
        ("/stock/adjust?sku=MUG-01&units=x&reason=x", "units: got &#39;x&#39;, expected a whole"),
        ("/stock/adjust?sku=MUG-01&units=1&reason=", "reason: expected 1 to 255"),
        ("/stock/count?sku=MUG-01&units=-1", "units: got -1, expected 0 to"),
    ],
)
def test_a_correction_that_can_not_be_is_told_where_it_is_asked_for(
    grace: Browser, shop: Mill, path: str, says: str
) -> None:
    answer = grace.get(path)

    assert (answer.status_code, says in answer.text) == (422, True)
    assert on_hand(shop) == 100
