"""What a person decides about orders on hold: only what answers their reason is offered, single and in
bulk; it is done once, as it was shown, and the log holds no address."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from sqlalchemy import text, update

from pipeline.decisions import KINDS
from pipeline.storage import orders, sources
from pipeline.storage.sql import now
from pipeline.storage.tables import backorders
from tests.inventory.test_backorders import look
from tests.support import MUG, TEE, Mill
from tests.web.console.conftest import Browser, actors, held, logged


def held_for(shop: Mill, reason: str, number: int = 1) -> list[int]:
    found = held(shop, number)
    for order_id in found:
        with shop.database.transaction() as tx:
            tx.exec_driver_sql(f"UPDATE orders SET reason = '{reason}' WHERE id = {order_id}")
    return found


def decided(shop: Mill, order_id: int) -> dict[str, Any]:
    with shop.database.snapshot() as tx:
        return dict(orders.load(tx, [order_id])[0].order.decided)


@pytest.mark.parametrize(
    ("reason", "offered"),
    [
        ("total_differs", ["charge"]),
        ("address_unclear", ["ship_to", "tax_zone"]),
        ("vat_unverified", ["vat"]),
        ("backorder_expired", ["wait_until"]),
        ("country_held", []),
    ],
)
def test_a_held_order_offers_the_decisions_that_answer_its_reason(
    grace: Browser, shop: Mill, reason: str, offered: list[str]
) -> None:
    [order_id] = held_for(shop, reason)

    page, order = grace.text(f"/orders/{order_id}/decide"), grace.text(f"/orders/{order_id}")
    listed = grace.text(f"/orders?status=on_hold&reason={reason}")
    bulk = grace.text(f"/bulk/decide?reason={reason}")

    kinds = [k for k in KINDS if f'name="kind" value="{k}"' in page]
    assert kinds == offered
    assert [k for k in KINDS if f'name="kind" value="{k}"' in bulk] == offered
    assert (f"/orders/{order_id}/decide" in order) == bool(offered)
    assert ("/bulk/decide" in listed) == bool(offered)


def test_an_order_is_decided_about_in_the_operators_name(grace: Browser, shop: Mill) -> None:
    [order_id] = held_for(shop, "total_differs")

    answer = grace.do(f"/orders/{order_id}/decide", value="shown")

    assert "It is decided, and back at work." in answer.text
    assert "Decided by a person:" in answer.text
    assert (shop.status(order_id), decided(shop, order_id)) == ("received", {"charge": "shown"})
    assert actors(shop, order_id, "decided") == ["operator:grace"]
    assert logged(shop) == [("grace", "decide", str(order_id), "done")]


def test_of_an_address_what_was_changed_in_the_form_is_corrected(
    grace: Browser, shop: Mill
) -> None:
    [order_id] = held_for(shop, "address_unclear")
    form = grace.form_of(f"/orders/{order_id}/decide")

    grace.post(
        f"/orders/{order_id}/decide",
        **{**form, "kind": "ship_to", "country": "FR", "postal_code": "", "city": "Lyon"},
    )

    assert decided(shop, order_id) == {"ship_to": {"city": "Lyon", "postal_code": None}}
    [(detail,)] = shop.query("SELECT detail FROM operators_log WHERE action = 'decide'")
    assert json.loads(detail) == {"ship_to_fields": ["city", "postal_code"]}


def test_a_decision_that_can_not_be_says_why_and_changes_nothing(
    grace: Browser, shop: Mill
) -> None:
    [order_id] = held_for(shop, "address_unclear")
    form = grace.form_of(f"/orders/{order_id}/decide")

    answer = grace.post(
        f"/orders/{order_id}/decide",
        **{**form, "kind": "ship_to", "country": "Atlantis", "city": "Lyon"},
    )

    assert answer.status_code == 422
    assert "ship_to.country: got" in answer.text
    assert 'value="Lyon"' in answer.text
    assert shop.status(order_id) == "on_hold"


def test_a_form_that_is_sent_twice_decides_once(grace: Browser, shop: Mill) -> None:
    [order_id] = held_for(shop, "vat_unverified")
    form = {**grace.form_of(f"/orders/{order_id}/decide"), "value": "tax"}

    grace.post(f"/orders/{order_id}/decide", **form)
    again = grace.post(f"/orders/{order_id}/decide", **form)

    assert again.status_code == 409
    assert shop.timeline(order_id).count("decided") == 1


def test_all_that_match_are_decided_about_and_no_others(grace: Browser, shop: Mill) -> None:
    matching = held_for(shop, "vat_unverified", 30)
    [other] = held_for(shop, "total_differs")

    answer = grace.do("/bulk/decide", "?reason=vat_unverified", value="form")

    assert "30 orders: decide done." in answer.text
    assert {shop.status(each) for each in matching} == {"received"}
    assert decided(shop, matching[7]) == {"vat": "form"}
    assert shop.status(other) == "on_hold"
    assert logged(shop) == [("grace", "decide.all", None, "done")]


def test_a_bulk_decision_that_can_not_be_says_why_and_changes_nothing(
    grace: Browser, shop: Mill
) -> None:
    [order_id] = held_for(shop, "vat_unverified")

    answer = grace.do("/bulk/decide", "?reason=vat_unverified", value="perhaps")

    assert answer.status_code == 422
    assert "vat: got" in answer.text
    assert shop.status(order_id) == "on_hold"


def test_an_order_s_page_has_what_vies_said_of_its_vat_id(grace: Browser, shop: Mill) -> None:
    [order_id] = held_for(shop, "vat_unverified")
    kept = {
        "vat_id": "FR40303265045", "valid": False, "said": "INVALID",
        "asked_at": "2026-11-30T15:00:00Z", "consultation_number": "WAPIAAAAX3lU8bHe",
    }  # fmt: skip
    with shop.database.transaction() as tx:
        tx.execute(text("UPDATE order_documents SET vat_check = :kept"), {"kept": json.dumps(kept)})

    page = grace.text(f"/orders/{order_id}")

    assert "VIES on FR40303265045:</b> INVALID" in page
    assert "consultation number WAPIAAAAX3lU8bHe" in page


# --- Orders that wait for stock -------------------------------------------------------------------


def waiting(shop: Mill, number: int = 1) -> list[int]:
    """Orders that each lack 60 of 100 mugs, or all, and have a tee; their source lets them wait for
    14 days."""
    policy = shop.source.policy.model_copy(update={"backorder_days": 14})
    with shop.database.transaction() as tx:
        sources.put(tx, "shop", policy)
        shop.source = sources.by_name(tx, "shop")
    shop.stocked(units=0, backorder=True)
    found = [shop.accept(lines=[(MUG, 160), (TEE, 1)]) for _ in range(number)]
    shop.turn()
    assert {shop.status(each) for each in found} == {"backordered"}
    return found


def expired(shop: Mill, number: int = 1) -> list[int]:
    found = waiting(shop, number)
    with shop.database.transaction() as tx:
        tx.execute(update(backorders).values(since=now(-15 * 86_400)))
    look(shop)
    assert {shop.row(each).reason for each in found} == {"backorder_expired"}
    return found


def test_pages_show_what_an_order_waits_for_and_who_is_before_it(
    grace: Browser, shop: Mill
) -> None:
    first, second = waiting(shop, 2)

    pages = [grace.text(f"/orders/{each}") for each in (first, second)]
    sku = grace.text(f"/stock/sku?sku={MUG}")

    rows = [page.partition("It waits for</h3>")[2].partition("</table>")[0] for page in pages]
    units = [re.findall(r'<td class="num">([^<]+)</td>', row) for row in rows]
    assert units == [["60", "0"], ["160", "1"]]
    waited_for = sku.partition("Waited for by</h2>")[2].partition("</table>")[0]
    assert re.findall(r"/console/orders/(\d+)", waited_for) == [str(first), str(second)]


def test_one_that_has_waited_for_too_long_is_let_wait_until_a_day(
    grace: Browser, shop: Mill
) -> None:
    [order_id] = expired(shop)
    page = grace.text(f"/orders/{order_id}/decide")
    assert '<input name="value" type="date" required>' in page

    answer = grace.do(f"/orders/{order_id}/decide", value="2999-12-24")
    shop.turn()

    assert "It is decided, and back at work." in answer.text
    assert "2999-12-24" in answer.text
    assert decided(shop, order_id) == {"wait_until": "2999-12-24"}
    assert shop.status(order_id) == "backordered"
    assert actors(shop, order_id, "decided") == ["operator:grace"]
    shop.receive(MUG, 60)
    shop.turn()
    assert shop.status(order_id) == "confirmed"


@pytest.mark.parametrize("day", ["", "soon", "24.12.2999", "9999-12-31"])
def test_what_is_no_day_changes_nothing(grace: Browser, shop: Mill, day: str) -> None:
    [order_id] = expired(shop)

    one = grace.do(f"/orders/{order_id}/decide", value=day)
    all_of_them = grace.do("/bulk/decide", "?reason=backorder_expired", value=day)

    assert (one.status_code, all_of_them.status_code) == (422, 422)
    assert "wait_until: got" in one.text
    assert "wait_until: got" in all_of_them.text
    assert (shop.status(order_id), decided(shop, order_id)) == ("on_hold", {})


def test_all_that_have_waited_for_too_long_are_let_wait_together(
    grace: Browser, shop: Mill
) -> None:
    found = expired(shop, 3)
    listed = grace.text("/orders?status=on_hold&reason=backorder_expired")
    assert "/bulk/decide" in listed

    answer = grace.do("/bulk/decide", "?reason=backorder_expired", value="2999-12-24")
    shop.turn()

    assert "3 orders: decide done." in answer.text
    assert {shop.status(each) for each in found} == {"backordered"}
    assert logged(shop) == [("grace", "decide.all", None, "done")]
