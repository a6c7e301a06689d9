"""Requeue and cancel of all that match: those that were shown, each once, and told as far as it came."""

from __future__ import annotations

import json
import threading

import pytest

from tests.support import Mill
from tests.web.console.conftest import Browser, actors, held, logged
from web.console import bulk


def test_all_that_match_are_requeued_and_no_others(grace: Browser, shop: Mill) -> None:
    matching = held(shop, 30)
    other = shop.accept(external_id="another", lines=[("NONE", 1)])
    shop.turn()

    page = grace.text("/bulk/requeue?reason=country_held")
    answer = grace.do("/bulk/requeue", "?reason=country_held")

    assert "Requeue 30 orders" in page
    assert "web-" in page
    assert "30 orders: requeue done." in answer.text
    assert {shop.status(each) for each in matching} == {"received"}
    assert shop.status(other) == "rejected"
    assert actors(shop, matching[7], "requeued") == ["operator:grace"]
    assert logged(shop) == [("grace", "requeue.all", None, "done")]


def test_orders_that_are_held_after_the_page_was_made_are_not_among_them(
    grace: Browser, shop: Mill
) -> None:
    shown = held(shop, 2)
    form = grace.form_of("/bulk/cancel?reason=country_held")
    later = held(shop, 1)

    grace.post("/bulk/cancel", **form)

    assert {shop.status(each) for each in shown} == {"cancelled"}
    assert shop.status(later[0]) == "on_hold"


def test_a_rate_spreads_them_over_time(grace: Browser, shop: Mill) -> None:
    held(shop, 10)

    grace.do("/bulk/requeue", "?reason=country_held", rate="2")

    due = shop.query("SELECT size FROM dispatches ORDER BY due_at")
    assert [row.size for row in due] == [2] * 5


@pytest.mark.parametrize("rate", ["0", "-1", "fast", "nan"])
def test_a_rate_that_can_not_be_moves_nothing(grace: Browser, shop: Mill, rate: str) -> None:
    [order_id] = held(shop, 1)

    answer = grace.do("/bulk/requeue", "?reason=country_held", rate=rate)

    assert (answer.status_code, shop.status(order_id)) == (422, "on_hold")


def test_what_takes_long_goes_on_behind_its_entry_in_the_log(
    grace: Browser, shop: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(shop, 3)
    answered, run = threading.Event(), bulk._run
    monkeypatch.setattr(bulk, "_run", lambda *given: answered.wait(20) and run(*given))
    monkeypatch.setattr(bulk, "PATIENCE", 0.0)

    answer = grace.do("/bulk/requeue", "?reason=country_held")
    answered.set()
    for _ in range(200):
        if "under way" not in (page := grace.text(answer.url.path.removeprefix("/console"))):
            break

    assert answer.url.path.startswith("/console/log/")
    assert "<dt>moved</dt><dd>3</dd>" in page


def test_what_breaks_off_is_told_as_far_as_it_came(
    grace: Browser, shop: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(shop, 3)

    def break_off(*_: object, **__: object) -> None:
        raise RuntimeError("the shelf is gone")

    monkeypatch.setattr("pipeline.bulk.move_all", break_off)

    grace.do("/bulk/requeue", "?reason=country_held")

    [entry] = shop.query("SELECT outcome, detail FROM operators_log WHERE action = 'requeue.all'")
    assert entry.outcome == "failed"
    assert json.loads(entry.detail) == {
        "reason": "country_held", "found": 3, "moved": 0, "why": "RuntimeError: the shelf is gone",
    }  # fmt: skip
