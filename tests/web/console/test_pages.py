"""What the console's pages show: with nothing, one thing, many; and what of it is escaped."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from pipeline.assembly import Application
from pipeline.source import Policy
from pipeline.storage import (
    catalogue,
    clock,
    job_runs,
    operators_log,
    processes,
    queues,
    refusals,
    sources,
)
from pipeline.storage.database import Database
from scheduler.table import JOBS
from scheduler.tick import run_until_ended
from tests.support import MUG, Mill, ask
from tests.web.console.conftest import Browser, held

Open = Callable[..., Browser]

EMPTY = {
    "/": "No worker is running",
    "/held": "No order is on hold.",
    "/orders": "There is no order yet.",
    "/orders?status=on_hold": "No order matches.",
    "/queues": "validate",
    "/refusals": "Nothing was refused of messages.",
    "/workers": "No process was seen lately.",
    "/jobs": "has not run",
    "/jobs/audit": "It has not run yet.",
    "/stock": "There is no product yet.",
    "/stock?q=mug": "No product matches.",
    "/sources": "There is no source yet.",
    "/audit": "It has not run yet.",
    "/bulk/requeue?reason=poison": "No order on hold matches",
    "/me": "Signed in as admin.",
}
EVIL = "<script>alert(1)</script>"


@pytest.mark.parametrize("path", EMPTY)
def test_with_nothing_to_show_a_page_says_so(browser: Open, path: str) -> None:
    assert EMPTY[path] in browser("admin").text(path)


@pytest.mark.parametrize("path", ["/sign-in", "/", "/nothing", "/orders/999"])
def test_browsers_are_told_to_run_and_show_nothing_that_is_not_ours(
    browser: Open, path: str
) -> None:
    answer = browser("admin").get(path)

    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"


def all_pages(order_id: int, sku: str, source: str) -> list[str]:
    return [
        "/", "/held", "/orders", f"/orders/{order_id}", f"/orders/{order_id}/cancel",
        f"/orders/{order_id}/requeue", "/orders?status=on_hold", "/bulk/cancel", "/queues",
        "/workers", "/refusals", "/jobs", "/jobs/audit", "/stock", f"/stock/sku?sku={sku}", "/sources",
        f"/sources/{source}", "/audit", "/log", "/me",
    ]  # fmt: skip


def test_what_upstream_systems_send_is_shown_and_never_run(
    browser: Open, shop: Mill, database: Database
) -> None:
    with database.transaction() as tx:
        catalogue.put(tx, [catalogue.ProductIn(EVIL, EVIL, True, False, {"EUR": 100})])
        queues.pause(tx, "notify", EVIL)
        operators_log.add(tx, "ada", EVIL, EVIL, {EVIL: EVIL}, "done")
        processes.seen(tx, "1", "worker", EVIL, 1, json.dumps([{"clock": -3_600}]))
        refusals.add(tx, "shop", [(EVIL, [EVIL])])
        refusals.put_aside(tx, "intake", EVIL, EVIL, len(EVIL))
    [order_id] = held(
        shop, 1, external_id=EVIL, customer={"email": "a@example.com", "name": EVIL},
        lines=[(EVIL, 1), (MUG, 1)], metadata={"note": EVIL},
    )  # fmt: skip
    admin = browser("admin")

    pages = [admin.text(path) for path in all_pages(order_id, EVIL, "shop")]
    pages.append(admin.get(f"/orders?external_id={EVIL}&reason={EVIL}&sku={EVIL}").text)
    pages.append(admin.get(f"/search?q={EVIL}").text)

    assert not any("<script>alert" in page for page in pages)
    assert sum("&lt;script&gt;alert(1)" in page for page in pages) >= 8


def test_no_page_has_a_script_or_style_of_its_own(browser: Open, shop: Mill) -> None:
    [order_id] = held(shop, 1)
    admin = browser("admin")

    for path in all_pages(order_id, MUG, "shop"):
        page = admin.text(path)
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! src=\")|javascript:", page), path


def test_the_overview_says_what_needs_a_person_before_all_else(
    browser: Open, shop: Mill, database: Database
) -> None:
    held(shop, 3)
    with database.transaction() as tx:
        queues.pause(tx, "pay", "operator:ada")
        doing = json.dumps([{"gateway": "stripe", "breaker": "open"}])
        processes.seen(tx, "1", "worker", "mill-1", 17, doing)
        refusals.put_aside(tx, "intake", "it is no JSON", "not json", 8)
        run = job_runs.fire(tx, "audit", clock.read(tx), "token", "mill-1", 15.0)
        job_runs.finish(tx, run or 0, "token", "failed", None, "the shelf is gone", "")

    page = browser("viewer").text("/")

    top = page[: page.index("Confirmed by the minute")]
    assert "3 on hold: country held" in top
    assert "its country is among its source&#39;s hold_countries" in top
    assert "pay is paused" in top
    assert "1 message could not be read" in top
    assert "The gateway stripe is unwell" in top
    assert "No scheduler is running" in top
    assert "No worker is running" not in top
    assert "audit failed" in top
    assert "the shelf is gone" in top


def test_the_overview_is_calm_when_nothing_needs_anybody(browser: Open, database: Database) -> None:
    with database.transaction() as tx:
        for role in ("worker", "scheduler"):
            processes.seen(tx, role, role, "mill-1", 17, "[]")

    assert "Nothing needs you." in browser("viewer").text("/")


def test_the_overview_counts_what_waits_and_what_came_through(browser: Open, shop: Mill) -> None:
    for _ in range(4):
        shop.accept()
    shop.turn()
    for _ in range(3):
        shop.accept()

    page = browser("viewer").text("/")

    row = re.search(r'<th scope="row">validate.*?</tr>', page, re.DOTALL)
    assert row is not None
    cells = re.findall(r'data-label="([^"]+)">(?:<time[^>]*>)?([^<]+)', row[0])
    assert dict(cells) | {"Oldest": ""} == {
        "Waiting": "3", "Due": "3", "In flight": "0", "Oldest": "",
        "Through, hour": "4", "Through, day": "4", "Failed, hour": "0", "Failed, day": "0",
    }  # fmt: skip


def test_an_order_tells_its_whole_story(browser: Open, shop: Mill) -> None:
    order_id = shop.accept()
    shop.turn()

    page = browser("viewer").text(f"/orders/{order_id}")

    for told in ("Order 1 ", "confirmed", "20.00 EUR", "captured", "ada@example.com", "MUG-01",
                 "advanced</b> at price", "engine", "How the price came about", "authorize",
                 "sandbox", "order.confirmed", "delivered"):  # fmt: skip
        assert told in page, told
    assert "Cancel…" not in page  # a viewer has no button that he may not press


def test_an_order_on_hold_says_why_and_what_to_do(browser: Open, shop: Mill) -> None:
    [order_id] = held(shop, 1)

    page = browser("operator").text(f"/orders/{order_id}")

    assert "On hold: country held" in page
    assert "look at it: requeue it to let it pass, or cancel it" in page
    assert "(country: FR)" in page
    assert f"/console/orders/{order_id}/requeue" in page


def test_an_order_that_waits_names_its_dispatch(browser: Open, shop: Mill) -> None:
    order_id = shop.accept()

    page = browser("viewer").text(f"/orders/{order_id}")

    assert "It is due at <b>validate</b>" in page


@pytest.mark.parametrize("path", ["/orders/999", "/sources/nobody", "/stock/sku?sku=NONE", "/jobs/none", "/jobs/audit/runs/9", "/queues/none/pause", "/nothing", "/log/9"])  # fmt: skip
def test_what_there_is_not_is_a_page_that_says_so(browser: Open, path: str) -> None:
    answer = browser("admin").get(path)

    assert answer.status_code == 404
    assert "To the overview" in answer.text


@pytest.mark.parametrize(
    ("path", "status"),
    [("/orders/99999999999999999999", 422), ("/orders/0", 422), ("/orders?before=-1", 422),
     ("/orders?external_id=%00", 400), ("/search?q=99999999999999999999", 200),
     ("/search?q=%F0%28", 200), ("/orders/one", 422)],
)  # fmt: skip
def test_what_no_database_can_read_is_refused_before_it_is_asked(
    browser: Open, path: str, status: int
) -> None:
    assert browser("viewer").get(path).status_code == status


def test_stock_is_found_by_sku_or_name_and_shows_its_ledger(browser: Open, shop: Mill) -> None:
    order_id = shop.accept()
    shop.turn()
    viewer = browser("viewer")

    assert "MUG-01" in viewer.text("/stock?q=mug")
    assert "TEE-01" not in viewer.text("/stock?q=mug")
    page = viewer.text("/stock/sku?sku=MUG-01")
    assert "receipt" in page
    assert f'<a href="/console/orders/{order_id}">order {order_id}</a>' in page
    assert (
        "receipt" not in viewer.text("/stock/sku?sku=MUG-01&kind=reservation").split("<tbody>")[2]
    )
    assert "+100" in page
    assert f'href="/console/orders/{order_id}"' in page


def test_a_source_shows_what_is_set_and_what_is_default(
    browser: Open, shop: Mill, database: Database
) -> None:
    with database.transaction() as tx:
        sources.put(tx, "market", Policy(gateway="sandbox", lane="bulk"))

    page = browser("viewer").text("/sources/market")

    assert "<b>bulk</b>" in page
    assert '<span class="muted">capture_first</span>' in page


def test_an_audit_is_read_from_the_job_that_proved_it(
    browser: Open, shop: Mill, application: Application
) -> None:
    shop.accept()
    shop.turn()
    viewer = browser("viewer")

    run_until_ended(application, JOBS["audit"], ask(application, JOBS["audit"], "test"))
    clean = viewer.text("/audit")
    with shop.database.transaction() as tx:
        tx.exec_driver_sql("UPDATE quotes SET net = net - 1, tax = tax + 1")
    run_until_ended(application, JOBS["audit"], ask(application, JOBS["audit"], "test"))
    broken = viewer.text("/audit")

    assert "All rules hold" in clean
    assert "1 broken" in broken
    assert "order 1" in broken
    assert "audit found a problem" in viewer.text("/")
