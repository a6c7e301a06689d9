"""What operators do: asked first, done once, as it was shown, and written down with their name."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pipeline.payments.sandbox import SandboxGateway
from pipeline.source import Policy
from pipeline.storage import sources
from pipeline.storage.database import Database
from pipeline.storage.sql import now
from pipeline.storage.tables import operator_sessions
from tests.support import MUG, Mill
from tests.web.console.conftest import Announced, Browser, held
from web.console import bulk

Open = Callable[..., Browser]


@pytest.fixture
def grace(browser: Open) -> Browser:
    return browser("operator", "grace")


def logged(shop: Mill) -> list[tuple[str, str, str | None, str]]:
    """What the log has but for signing in."""
    rows = shop.query(
        "SELECT operator, action, target, outcome FROM operators_log "
        "WHERE action NOT LIKE 'sign%' ORDER BY id"
    )
    return [tuple(row) for row in rows]


def actors(shop: Mill, order_id: int, kind: str) -> list[str]:
    found = shop.query(
        "SELECT actor FROM events WHERE order_id = :id AND kind = :kind", id=order_id, kind=kind
    )
    return [row.actor for row in found]


# --- One order -------------------------------------------------------------------------------------


def test_an_order_is_requeued_in_the_operators_name(grace: Browser, shop: Mill) -> None:
    [order_id] = held(shop, 1)

    answer = grace.do(f"/orders/{order_id}/requeue")
    shop.turn()

    assert "It is back at work." in answer.text
    assert shop.status(order_id) == "confirmed"
    assert actors(shop, order_id, "requeued") == ["operator:grace"]
    assert logged(shop) == [("grace", "requeue", str(order_id), "done")]


def test_the_worker_is_told_of_what_was_requeued(
    grace: Browser, shop: Mill, announced: Announced
) -> None:
    [order_id] = held(shop, 1)

    grace.do(f"/orders/{order_id}/requeue")

    assert [step for step, _ in announced.told] == ["validate"]


def test_what_is_said_once_is_not_said_again(grace: Browser, shop: Mill) -> None:
    [order_id] = held(shop, 1)

    said = grace.do(f"/orders/{order_id}/requeue").text
    again = grace.text(f"/orders/{order_id}")

    assert "It is back at work." in said
    assert "It is back at work." not in again


def test_an_order_is_cancelled_and_its_page_says_what_goes_back(grace: Browser, shop: Mill) -> None:
    order_id = shop.accept()
    shop.turn()

    page = grace.text(f"/orders/{order_id}/cancel")
    grace.do(f"/orders/{order_id}/cancel")
    shop.turn()

    assert "20.00 EUR go back to the customer." in page
    assert "2 reserved units are released" in page
    assert shop.status(order_id) == "cancelled"
    assert actors(shop, order_id, "cancelled") == ["operator:grace"]
    assert logged(shop) == [("grace", "cancel", str(order_id), "done")]


def test_an_order_that_has_changed_since_it_was_shown_is_left_alone(
    grace: Browser, shop: Mill
) -> None:
    [order_id] = held(shop, 1)
    form = grace.form_of(f"/orders/{order_id}/cancel")
    grace.do(f"/orders/{order_id}/requeue")

    answer = grace.post(f"/orders/{order_id}/cancel", **form)

    assert answer.status_code == 409
    assert "has changed since the page was made" in answer.text
    assert shop.status(order_id) == "received"
    assert logged(shop)[-1] == ("grace", "cancel", str(order_id), "refused")


# --- Money -----------------------------------------------------------------------------------------


def refunds(shop: Mill) -> list[Any]:
    return shop.query(
        "SELECT amount FROM payment_operations WHERE kind = 'refund' AND state = 'succeeded'"
    )


@pytest.fixture
def confirmed(shop: Mill) -> int:
    order_id = shop.accept(lines=[(MUG, 3)])
    shop.turn()
    return order_id


@pytest.mark.parametrize(
    ("asked", "minor"),
    [("amount=5.00", 500), ("line_1=2", 2000), ("", 3000), ("amount=5&reason=scratched", 500)],
)
def test_a_refund_is_what_its_page_said(
    grace: Browser, shop: Mill, confirmed: int, asked: str, minor: int
) -> None:
    page = grace.text(f"/orders/{confirmed}/refund?choose=yes&{asked}")

    answer = grace.do(f"/orders/{confirmed}/refund", f"?choose=yes&{asked}")

    assert f"{minor / 100:.2f} EUR go back to the customer, by sandbox." in page
    assert f"{minor / 100:.2f} EUR refunded." in answer.text
    assert refunds(shop) == [(minor,)]
    assert actors(shop, confirmed, "refund_requested") == ["operator:grace"]
    assert logged(shop) == [("grace", "refund", str(confirmed), "done")]


def test_looking_at_what_a_refund_would_be_refunds_nothing(
    grace: Browser, shop: Mill, confirmed: int
) -> None:
    grace.text(f"/orders/{confirmed}/refund?choose=yes&amount=5.00")

    assert shop.timeline(confirmed)[-1] == "advanced"
    assert shop.query("SELECT 1 FROM payment_tasks") == []


def test_a_refund_that_is_sent_twice_is_made_once(
    grace: Browser, shop: Mill, confirmed: int
) -> None:
    form = grace.form_of(f"/orders/{confirmed}/refund?choose=yes&amount=5.00")

    answers = [grace.post(f"/orders/{confirmed}/refund", **form).status_code for _ in range(2)]

    assert answers == [200, 409]
    assert refunds(shop) == [(500,)]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("amount=30.01", "30.00 EUR can be refunded, 30.01 were asked for"),
        ("amount=5.001", "has more decimal places than EUR"),
        ("amount=lots", "is not a decimal number"),
        ("line_1=4", "line 1"),
        ("line_1=x", "expected a number of units"),
        ("amount=1&line_1=1", "not of both"),
    ],
)
def test_a_refund_that_can_not_be_is_told_where_it_is_asked_for(
    grace: Browser, shop: Mill, confirmed: int, asked: str, says: str
) -> None:
    answer = grace.get(f"/orders/{confirmed}/refund?choose=yes&{asked}")

    assert (answer.status_code, says in answer.text) == (422, True)
    assert "What would that be?" in answer.text


def test_a_refund_asks_for_the_password_again_after_five_minutes(
    grace: Browser, shop: Mill, confirmed: int, database: Database
) -> None:
    with database.transaction() as tx:
        tx.execute(operator_sessions.update().values(confirmed_at=now(-301)))
    path, asked = f"/orders/{confirmed}/refund", "?choose=yes&amount=5.00"

    page = grace.text(path + asked)
    without = grace.do(path, asked)
    wrong = grace.do(path, asked, password="wrong")
    before = refunds(shop)
    right = grace.do(path, asked, password="correct horse battery")
    after = grace.text(f"/orders/{confirmed}/refund?choose=yes&amount=1.00")

    assert "Your password, again" in page
    assert [each.status_code for each in (without, wrong, right)] == [403, 403, 200]
    assert "Wrong password." in wrong.text
    assert before == []
    assert refunds(shop) == [(500,)]
    assert "Your password, again" not in after


def test_a_refund_that_the_gateway_refuses_is_told(
    grace: Browser, shop: Mill, confirmed: int, gateway: SandboxGateway
) -> None:
    form = grace.form_of(f"/orders/{confirmed}/refund?choose=yes&amount=5.00")
    gateway.refund_at_gateway(next(iter(gateway.book())).reference, 3000)

    answer = grace.post(f"/orders/{confirmed}/refund", **form)

    assert "The gateway refused" in answer.text
    assert refunds(shop) == []


def test_what_was_authorized_is_captured(grace: Browser, shop: Mill) -> None:
    with shop.database.transaction() as tx:
        sources.put(tx, "shop", Policy(capture="later"))
        shop.source = sources.by_name(tx, "shop")
    order_id = shop.accept()
    shop.turn()

    page = grace.text(f"/orders/{order_id}/capture")
    answer = grace.do(f"/orders/{order_id}/capture")

    assert "20.00 EUR are taken from the customer" in page
    assert "20.00 EUR captured." in answer.text
    assert actors(shop, order_id, "capture_requested") == ["operator:grace"]


# --- All that match --------------------------------------------------------------------------------


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
    monkeypatch.setattr(bulk, "PATIENCE", 0.0)

    answer = grace.do("/bulk/requeue", "?reason=country_held")
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

    monkeypatch.setattr(bulk.bulk, "move_all", break_off)

    grace.do("/bulk/requeue", "?reason=country_held")

    [entry] = shop.query("SELECT outcome, detail FROM operators_log WHERE action = 'requeue.all'")
    assert entry.outcome == "failed"
    assert json.loads(entry.detail) == {
        "reason": "country_held", "found": 3, "moved": 0, "why": "RuntimeError: the shelf is gone",
    }  # fmt: skip


# --- Queues, jobs, stock ---------------------------------------------------------------------------


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


# --- When the database is away -----------------------------------------------------------------------


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_while_the_database_can_not_be_used_a_page_says_so(
    grace: Browser, database: Database
) -> None:
    with database.transaction() as tx:
        tx.exec_driver_sql("DROP TABLE dispatches")

    answer = grace.get("/")

    assert answer.status_code == 503
    assert "The database can&#39;t be used just now." in answer.text


def test_a_defect_tells_nothing_of_itself(grace: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise RuntimeError("sk_live_secret")

    monkeypatch.setattr("web.console.sources.storage.all_sources", break_down)
    assert isinstance(grace.client, TestClient)

    answer = grace.get("/sources")

    assert answer.status_code == 500
    assert "A defect of ours; the log has it." in answer.text
    assert "secret" not in answer.text
