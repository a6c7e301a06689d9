"""Orders over HTTP: placed once, seen by whose they are, steered as long as they are as they were seen."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import Response
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from pipeline.assembly import Application
from pipeline.source import Policy
from pipeline.storage import sources
from tests.support import MUG, TEE, Mill, an_order
from web.api import quotes

As = Callable[..., TestClient]

#: Of calls that don't take an empty one.
BODIES = {"decisions": {"charge": "shown"}}


def problem(answer: Response, status: int, kind: str = "") -> dict[str, Any]:
    """The problem that it is."""
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["status"]) == (status, status), body
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["type"] == (f"tag:ordermill,2026:problems/{kind}" if kind else "about:blank")
    return body


def confirmed(shop: Mill, **changes: Any) -> int:
    order_id = shop.accept(**changes)
    shop.turn()
    assert shop.status(order_id) == "confirmed"
    return order_id


# --- Placing --------------------------------------------------------------------------------------


def test_an_order_that_is_placed_is_durable_and_named(client: TestClient, shop: Mill) -> None:
    answer = client.post("/v1/orders", json=an_order(external_id="web-1"))

    assert answer.status_code == 202
    body = answer.json()
    assert body == {"id": 1, "external_id": "web-1", "verdict": "accepted", "status": "received"}
    assert answer.headers["location"] == "/v1/orders/1"
    assert shop.status(1) == "received"
    shop.turn()
    assert client.get(answer.headers["location"]).json()["status"] == "confirmed"


def test_the_same_order_again_is_the_same_order_as_it_is_by_now(
    client: TestClient, shop: Mill
) -> None:
    order = an_order()
    first = client.post("/v1/orders", json=order).json()
    shop.turn()

    again = client.post("/v1/orders", json=order, headers={"Idempotency-Key": "whatever"})

    assert again.status_code == 200
    assert again.json() == {**first, "verdict": "duplicate", "status": "confirmed"}


def test_another_content_under_the_same_external_id_is_a_conflict_that_names_the_order(
    client: TestClient,
) -> None:
    order = an_order()
    client.post("/v1/orders", json=order)

    body = problem(client.post("/v1/orders", json={**order, "currency": "USD"}), 409, "conflict")

    assert body["order_id"] == 1


def test_two_sources_may_call_their_orders_the_same(as_: As) -> None:
    order = an_order()

    answers = [as_(source).post("/v1/orders", json=order) for source in ("shop", "rival")]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert [answer.json()["id"] for answer in answers] == [1, 2]


def test_every_bad_field_is_named_at_once(client: TestClient) -> None:
    order = an_order(currency="EURO", lines=[(MUG, 0)], colour="red")

    body = problem(client.post("/v1/orders", json=order), 422, "invalid")

    assert {error["field"]: error["value"] for error in body["errors"]} == {
        "currency": '"EURO"',
        "lines.0.quantity": "0",
        "colour": '"red"',
    }
    assert all(set(error) == {"field", "value", "expected"} for error in body["errors"])


def test_a_card_number_is_refused_and_not_repeated(client: TestClient) -> None:
    card = "4111111111111111"

    answer = client.post("/v1/orders", json=an_order(method=card))

    problem(answer, 422, "invalid")
    assert card not in answer.text


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"a": 1, "a": 2}', "a name stands twice"),
        (b'{"quantity": NaN}', "NaN is no number"),
        (b"[" * 40 + b"]" * 40, "nested more than 32 deep"),
        (b"[" * 100_000, "nested more than 32 deep"),
        (b"\xff", "not UTF-8"),
        (b"1" * 5_000, "not JSON"),
    ],
    ids=["empty", "broken", "twice", "nan", "deep", "bottomless", "utf-8", "digits"],
)
def test_what_can_not_be_read_in_one_way_only_is_not_read(
    client: TestClient, content: bytes, detail: str
) -> None:
    answer = client.post(
        "/v1/orders", content=content, headers={"Content-Type": "application/json"}
    )

    assert detail in problem(answer, 400, "malformed")["detail"]


def test_a_body_of_another_media_type_is_not_read(client: TestClient) -> None:
    order = json.dumps(an_order())
    for media in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = client.post("/v1/orders", content=order, headers={"Content-Type": media})

        problem(answer, 415)


def test_a_body_that_is_too_long_is_refused(client: TestClient) -> None:
    order = an_order(metadata={"note": "x" * 2_000_000})

    assert "longer than 2,000,000 bytes" in problem(client.post("/v1/orders", json=order), 413)["detail"]  # fmt: skip


def test_orders_that_come_at_once_share_commits(client: TestClient, shop: Mill) -> None:
    begun = []
    event.listen(shop.database.engine, "begin", lambda _: begun.append(1))
    orders = [an_order() for _ in range(40)]

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda order: client.post("/v1/orders", json=order), orders))

    assert [answer.status_code for answer in answers] == [202] * 40
    assert sorted(answer.json()["id"] for answer in answers) == list(range(1, 41))
    assert shop.query("SELECT count(DISTINCT id) FROM dispatches")[0][0] < 40


def test_while_the_database_is_away_nothing_is_accepted_and_the_client_comes_again(
    client: TestClient,
    application: Application,
    shop: Mill,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client.get("/v1/orders")  # its key is known
    away = threading.Event()

    def refuse(_: Any) -> None:
        if away.is_set():
            raise OperationalError("SELECT", {}, OSError("No space left on device"))

    event.listen(application.database.engine, "begin", refuse)
    away.set()

    for answer in (client.post("/v1/orders", json=an_order()), client.get("/v1/orders")):
        problem(answer, 503, "unavailable")
        assert answer.headers["retry-after"] == "5"
    away.clear()
    said = [r.getMessage() for r in caplog.records if r.name == "web.problems"]
    assert len(said) == 2
    assert all("No space left on device" in each for each in said)
    assert shop.query("SELECT count(*) FROM orders") == [(0,)]
    assert client.post("/v1/orders", json=an_order()).status_code == 202


def test_while_the_broker_is_away_orders_are_accepted(
    client: TestClient, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ConnectionError("the broker is away")

    monkeypatch.setattr(application.engine.announcer, "announce", refuse)

    assert client.post("/v1/orders", json=an_order()).status_code == 202


# --- Looking --------------------------------------------------------------------------------------


def test_an_order_is_shown_with_what_it_costs(client: TestClient, shop: Mill) -> None:
    order_id = confirmed(shop, lines=[(MUG, 2), (TEE, 1)])

    shown = client.get(f"/v1/orders/{order_id}").json()

    assert (shown["status"], shown["payment_status"]) == ("confirmed", "captured")
    assert (shown["total"], shown["currency"]) == ("40.00", "EUR")
    assert [(x["sku"], x["quantity"], x["gross"]) for x in shown["lines"]] == [
        (MUG, 2, "20.00"),
        (TEE, 1, "20.00"),
    ]
    assert shown["ship_to"]["country"] == "DE"


def test_an_order_that_is_not_priced_yet_is_shown_without_amounts(
    client: TestClient, shop: Mill
) -> None:
    order_id = shop.accept(lines=[(MUG, 2), (MUG, 1)])

    shown = client.get(f"/v1/orders/{order_id}").json()

    assert shown["total"] is None
    assert [(x["sku"], x["quantity"], x["gross"]) for x in shown["lines"]] == [(MUG, 3, None)]


def test_an_order_says_what_it_holds_and_what_it_waits_for_and_its_place(
    as_: As, shop: Mill
) -> None:
    with shop.database.transaction() as tx:
        tx.exec_driver_sql("UPDATE products SET backorder = true")
        free = tx.exec_driver_sql(
            f"SELECT on_hand - reserved FROM stock_levels WHERE sku = '{MUG}'"
        ).scalar_one()
    first, second = (shop.accept(lines=[(MUG, free + 2)]) for _ in range(2))
    shop.turn()

    held, lacking = (as_(None).get(f"/v1/orders/{i}/stock").json() for i in (first, second))

    assert held["holds"] == [{"line_no": 1, "sku": MUG, "location": "main", "units": free}]
    assert lacking["holds"] == []
    waits = [(w["sku"], w["units"], w["before"]) for x in (held, lacking) for w in x["waits_for"]]
    assert waits == [(MUG, 2, 0), (MUG, free + 2, 1)]


def test_an_order_is_shown_with_the_total_and_the_moment_that_it_states(
    client: TestClient, shop: Mill
) -> None:
    moment = (datetime.now(UTC) - timedelta(days=2)).isoformat()
    placed = client.post("/v1/orders", json=an_order(total="20", placed_at=moment)).json()
    shop.turn()

    told = client.get(f"/v1/orders/{placed['id']}").json()

    assert (told["total"], told["total_shown"]) == ("20.00", "20.00")
    assert datetime.fromisoformat(told["placed_at"]) == datetime.fromisoformat(moment)


def test_what_would_cost_more_than_was_shown_is_charged_once_somebody_says_so(
    client: TestClient, shop: Mill
) -> None:
    placed = client.post("/v1/orders", json=an_order(total="19.99")).json()
    shop.turn()
    path = f"/v1/orders/{placed['id']}"
    held = client.get(path).json()
    assert (held["status"], held["reason"], held["decisions"]) == (
        "on_hold", "total_differs", ["charge"],
    )  # fmt: skip

    answer = client.post(f"{path}/decisions", json={"charge": "shown"})
    shop.turn()

    assert answer.status_code == 202
    told = client.get(path).json()
    assert (told["status"], told["total"]) == ("confirmed", "19.99")


def test_what_is_sold_already_for_more_than_is_known_can_only_be_cancelled(
    client: TestClient, shop: Mill
) -> None:
    with shop.database.transaction() as tx:
        sources.put(tx, "shop", Policy(gateway="sandbox", price_policy="as_sold"))
    lines = [{"sku": MUG, "quantity": 2, "unit_price": "10.00"}]
    order = {**an_order(), "lines": lines, "total": "24.90"}
    placed = client.post("/v1/orders", json=order).json()
    shop.turn()

    held = client.get(f"/v1/orders/{placed['id']}").json()

    assert (held["reason"], held["decisions"]) == ("total_differs", [])


def test_a_quote_says_that_it_would_cost_more_than_was_shown(client: TestClient) -> None:
    told = client.post("/v1/quotes", json=an_order(total="19.99")).json()

    assert (told["total"], told["holds"]) == ("20.00", "total_differs")


def test_another_sources_order_is_not_there(as_: As, shop: Mill) -> None:
    order_id = shop.accept()
    rival = as_("rival")

    for path in ("", "/events", "/stock"):
        there = rival.get(f"/v1/orders/{order_id}{path}")
        nowhere = rival.get(f"/v1/orders/{order_id + 1}{path}")
        problem(there, 404)
        assert there.json()["detail"] == nowhere.json()["detail"].replace("2", "1")
    assert rival.get("/v1/orders").json()["items"] == []
    assert as_(None).get(f"/v1/orders/{order_id}").status_code == 200


def test_an_etag_spares_what_is_known_already(client: TestClient, shop: Mill) -> None:
    order_id = shop.accept()
    etag = client.get(f"/v1/orders/{order_id}").headers["etag"]

    same = client.get(f"/v1/orders/{order_id}", headers={"If-None-Match": etag})
    shop.turn()
    changed = client.get(f"/v1/orders/{order_id}", headers={"If-None-Match": etag})

    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    assert (changed.status_code, changed.headers["etag"] != etag) == (200, True)


def test_orders_are_listed_page_by_page_the_newest_first(client: TestClient, shop: Mill) -> None:
    for _ in range(7):
        shop.accept()

    pages, after = [], None
    while True:
        page = client.get("/v1/orders", params={"limit": 3, **({"cursor": after} if after else {})})
        pages.append([order["id"] for order in page.json()["items"]])
        after = page.json()["next"]
        if after is None:
            break

    assert pages == [[7, 6, 5], [4, 3, 2], [1]]


def test_orders_are_found_by_what_is_known_of_them(client: TestClient, shop: Mill) -> None:
    shop.accept(external_id="web-a")
    shop.turn()
    refused = shop.accept(external_id="web-b", lines=[("MUG-O1", 1)])
    shop.turn()
    seen = client.get("/v1/orders", params={"external_id": "web-b"}).json()["items"][0]

    def ids(**params: str) -> list[int]:
        return [order["id"] for order in client.get("/v1/orders", params=params).json()["items"]]

    assert ids(external_id="web-b") == ids(reason="unknown_sku") == [refused]
    assert ids(status="confirmed") == [1]
    assert ids(updated_since=seen["updated_at"]) == [refused]
    assert ids(accepted_since=seen["accepted_at"]) == [refused]
    assert ids(accepted_since="2999-01-01T00:00:00Z") == []


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "W10"}, "cursor"),
        ({"cursor": "é"}, "cursor"),
        ({"status": "lost"}, "status"),
        ({"limit": "0"}, "limit"),
        ({"accepted_since": "yesterday"}, "accepted_since"),
        ({"updated_since": "0001-01-01T00:00:00+23:00"}, "updated_since"),
        ({"accepted_since": "2026-11-23T00:00:00"}, "accepted_since"),
        ({"reason": "\x00"}, "reason"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(
    client: TestClient, params: dict[str, str], field: str
) -> None:
    body = problem(client.get("/v1/orders", params=params), 422, "invalid")

    assert [error["field"] for error in body["errors"]] == [field]


def test_the_timeline_tells_who_did_what(client: TestClient, shop: Mill) -> None:
    order_id = shop.accept()
    client.post(f"/v1/orders/{order_id}/cancel")
    shop.turn()

    events = client.get(f"/v1/orders/{order_id}/events").json()["items"]

    assert [e["kind"] for e in events] == ["received", "cancel_requested", "cancelled"]
    assert [e["actor"] for e in events][:2] == ["intake", "api:shop"]


# --- Steering -------------------------------------------------------------------------------------


def test_an_order_is_cancelled_once_however_often_it_is_asked(
    client: TestClient, shop: Mill
) -> None:
    order_id = confirmed(shop)

    answers = [client.post(f"/v1/orders/{order_id}/cancel") for _ in range(2)]
    shop.turn()

    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json()["status"] == "cancelling"
    assert shop.timeline(order_id).count("cancel_requested") == 1
    assert client.get(f"/v1/orders/{order_id}").json()["payment_status"] == "refunded"


def test_what_the_status_forbids_is_refused(client: TestClient, shop: Mill) -> None:
    order_id = confirmed(shop)

    problem(client.post(f"/v1/orders/{order_id}/requeue"), 409, "not-allowed-now")


def test_an_order_on_hold_is_put_back_to_work(as_: As, shop: Mill, client: TestClient) -> None:
    with shop.database.transaction() as tx:
        tx.execute(text('UPDATE sources SET policy = \'{"hold_countries": ["DE"]}\''))
    order_id = shop.accept()
    shop.turn()
    assert client.get(f"/v1/orders/{order_id}").json()["reason"] == "country_held"

    answer = client.post(f"/v1/orders/{order_id}/requeue")
    shop.turn()

    assert answer.status_code == 202
    assert shop.status(order_id) == "confirmed"


@pytest.mark.parametrize("action", ["cancel", "requeue", "refunds", "decisions"])
def test_an_order_that_has_changed_since_it_was_seen_is_left_alone(
    client: TestClient, shop: Mill, action: str
) -> None:
    order_id = shop.accept()
    etag = client.get(f"/v1/orders/{order_id}").headers["etag"]
    shop.turn()
    before = shop.timeline(order_id)

    headers = {"If-Match": etag, "Idempotency-Key": "k"}
    answer = client.post(
        f"/v1/orders/{order_id}/{action}", headers=headers, json=BODIES.get(action, {})
    )

    problem(answer, 412, "version-passed")
    assert shop.timeline(order_id) == before


@pytest.mark.parametrize("action", ["cancel", "requeue", "refunds", "decisions"])
def test_another_sources_order_can_not_be_touched(as_: As, shop: Mill, action: str) -> None:
    order_id = confirmed(shop)
    before = shop.timeline(order_id)

    answer = as_("rival").post(
        f"/v1/orders/{order_id}/{action}",
        headers={"Idempotency-Key": "k"},
        json=BODIES.get(action, {}),
    )

    problem(answer, 404)
    assert shop.timeline(order_id) == before


def refund(client: TestClient, order_id: int, key: str, **asked: Any) -> Response:
    return client.post(
        f"/v1/orders/{order_id}/refunds", json=asked, headers={"Idempotency-Key": key}
    )


def test_a_refund_is_asked_for_and_done(client: TestClient, shop: Mill) -> None:
    order_id = confirmed(shop)

    answer = refund(client, order_id, "r1", amount="5.00", reason="scratched")
    shop.payment_tasks.run()

    assert answer.status_code == 202
    body = answer.json()
    assert (body["amount"], body["currency"], body["state"]) == ("5.00", "EUR", "requested")
    shown = client.get(f"/v1/orders/{order_id}").json()
    assert shown["payment_status"] == "partially_refunded"


def test_a_refund_that_is_sent_again_is_done_once(client: TestClient, shop: Mill) -> None:
    order_id = confirmed(shop)

    with ThreadPoolExecutor(4) as threads:
        answers = list(
            threads.map(lambda _: refund(client, order_id, "r1", amount="5.00"), range(4))
        )
    shop.payment_tasks.run()
    later = refund(client, order_id, "r1", amount="5.00")

    assert {answer.status_code for answer in [*answers, later]} == {202}
    assert len({answer.text for answer in [*answers, later]}) == 1
    assert shop.timeline(order_id).count("refunded") == 1


def test_a_key_that_was_another_refunds_is_refused(client: TestClient, shop: Mill) -> None:
    order_id = confirmed(shop)
    refund(client, order_id, "r1", amount="5.00")

    problem(refund(client, order_id, "r1", amount="6.00"), 422, "key-reused")

    assert refund(client, order_id, "r2", amount="6.00").status_code == 202


def test_a_refund_that_was_refused_may_be_asked_for_again_under_its_key(
    client: TestClient, shop: Mill
) -> None:
    order_id = shop.accept()
    problem(refund(client, order_id, "r1"), 409, "not-allowed-now")
    shop.turn()

    assert refund(client, order_id, "r1").status_code == 202


def test_lines_are_refunded_by_number(client: TestClient, shop: Mill) -> None:
    order_id = confirmed(shop, lines=[(MUG, 2), (TEE, 1)])

    assert refund(client, order_id, "r1", lines={"1": 1}).json()["amount"] == "10.00"
    problem(refund(client, order_id, "r2", lines={"3": 1}), 422, "invalid")


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"amount": "5,00"}, "amount"),
        ({"amount": 5}, "amount"),
        ({"lines": {"0": 1}}, "lines"),
        ({"lines": {"1": 0}}, "lines"),
        ({"reason": "x" * 65}, "reason"),
        ({"sum": "1.00"}, "sum"),
    ],
)
def test_a_refund_that_makes_no_sense_is_refused_by_field(
    client: TestClient, shop: Mill, asked: dict[str, Any], field: str
) -> None:
    order_id = confirmed(shop)

    body = problem(refund(client, order_id, "r1", **asked), 422, "invalid")

    assert body["errors"][0]["field"].startswith(field)


def test_more_than_was_paid_is_not_refunded(client: TestClient, shop: Mill) -> None:
    order_id = confirmed(shop)

    body = problem(refund(client, order_id, "r1", amount="20.01"), 422, "invalid")

    assert "20.00 EUR can be refunded" in body["detail"]


def test_a_refund_names_itself(client: TestClient, shop: Mill) -> None:
    body = problem(client.post("/v1/orders/1/refunds", json={}), 422, "invalid")

    assert body["errors"][0]["field"] == "Idempotency-Key"


# --- How much is answered -------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/orders", "/v1/quotes"])
@pytest.mark.parametrize(
    ("wrong", "count"),
    [
        ({"lines": [{}] * 10_000}, 20_000),
        ({"lines": [dict.fromkeys("abcdefghi", 1)] * 10_000}, 110_000),
        ({"metadata": {f"x{n}": 1 for n in range(99)}, "lines": [{}] * 100}, 0),
    ],
)
def test_a_hundred_errors_are_named_and_the_rest_is_counted(
    client: TestClient, path: str, wrong: dict[str, Any], count: int
) -> None:
    answer = client.post(path, json={**an_order(), **wrong})

    body = problem(answer, 422, "invalid")
    assert len(body["errors"]) == 100
    assert count == 0 or body["more_errors"] == count - 100
    assert f" and {95 + body['more_errors']:,} more" in body["detail"]
    assert len(answer.content) < 100_000


@pytest.mark.parametrize("many", [150, 9_000, 150_000])
def test_an_object_with_too_many_names_is_refused_in_one_sentence(
    client: TestClient, many: int
) -> None:
    answer = client.post("/v1/orders", json={**an_order(), **{f"x{n}": 1 for n in range(many)}})

    assert answer.status_code in (400, 422)
    assert len(answer.content) < 1_000


def test_errors_are_never_longer_than_100_kb_however_they_are_written(client: TestClient) -> None:
    sign = "\U0001f9f0"
    order = {**an_order(), "lines": [{sign * 500 + str(n): sign * 500 for n in range(90)}] * 3}

    answer = client.post("/v1/orders", json=order)

    assert len(problem(answer, 422, "invalid")["errors"]) == 100
    assert len(answer.content) < 100_000


# --- Quotes ---------------------------------------------------------------------------------------


def test_an_order_is_priced_without_being_placed(client: TestClient, shop: Mill) -> None:
    quote = client.post("/v1/quotes", json=an_order(lines=[(MUG, 2)])).json()

    assert (quote["total"], quote["currency"], quote["holds"]) == ("20.00", "EUR", None)
    assert [(x["sku"], x["gross"]) for x in quote["lines"]] == [(MUG, "20.00")]
    assert quote["explanation"][0]["what"] == "2 × MUG-01 at 10.00 (catalogue)"
    assert shop.query("SELECT count(*) FROM orders") == [(0,)]


def test_of_a_long_explanation_the_beginning_is_told(
    client: TestClient, shop: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = an_order(lines=[(MUG, 1), (TEE, 1)])
    whole = client.post("/v1/quotes", json=order).json()
    monkeypatch.setattr(quotes, "MOST_ROWS", 1)
    begun = client.post("/v1/quotes", json=order).json()

    assert len(whole["explanation"]) > 1
    assert whole["explanation_is_cut"] is False
    assert (begun["explanation"], begun["explanation_is_cut"]) == (whole["explanation"][:1], True)
    assert (begun["lines"], begun["total"]) == (whole["lines"], whole["total"])


def test_a_quote_that_takes_too_long_is_given_up(
    client: TestClient, shop: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quotes, "MOST_SECONDS", -1.0)

    body = problem(client.post("/v1/quotes", json=an_order(lines=[(MUG, 1)])), 422, "invalid")

    assert body["detail"].startswith("lines: it takes more than -1 seconds to price them")


def test_an_order_that_is_placed_is_priced_however_long_it_takes(
    client: TestClient, shop: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quotes, "MOST_SECONDS", -1.0)
    client.post("/v1/orders", json=an_order(lines=[(MUG, 1)]))
    shop.turn()

    assert shop.status(1) == "confirmed"


def test_what_has_no_price_says_why(client: TestClient) -> None:
    body = problem(client.post("/v1/quotes", json=an_order(lines=[("MUG-O1", 1)])), 409)

    assert (body["reason"], body["why"]) == ("unknown_sku", {"skus": ["MUG-O1"]})


def test_of_long_quotes_only_so_many_wait(client: TestClient, app: FastAPI) -> None:
    long = an_order(lines=[(MUG, 1)] * 400)
    with ExitStack() as others:
        for _ in range(quotes.MOST_LONG + quotes.MOST_WAITING):
            others.enter_context(app.state.long_quotes.in_line())
        refused = client.post("/v1/quotes", json=long)
        short = client.post("/v1/quotes", json=an_order())

    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert short.status_code == 200
    assert client.post("/v1/quotes", json=long).status_code == 200


def test_what_is_wrong_with_a_quotes_order_is_named(client: TestClient) -> None:
    body = problem(client.post("/v1/quotes", json=an_order(currency="EURO")), 422, "invalid")

    assert [error["field"] for error in body["errors"]] == ["currency"]


def test_only_a_source_places_and_prices(as_: As) -> None:
    for path in ("/v1/orders", "/v1/quotes"):
        problem(as_(None).post(path, json=an_order()), 403, "forbidden")


# --- Deciding -------------------------------------------------------------------------------------


def held_for(shop: Mill, reason: str, **changes: Any) -> int:
    with shop.database.transaction() as tx:
        tx.execute(text('UPDATE sources SET policy = \'{"hold_countries": ["DE"]}\''))
    order_id = shop.accept(**changes)
    shop.turn()
    with shop.database.transaction() as tx:
        tx.execute(text(f"UPDATE orders SET reason = '{reason}' WHERE id = {order_id}"))
    return order_id


def test_an_order_on_hold_says_what_may_be_decided_and_then_what_was(
    client: TestClient, shop: Mill
) -> None:
    order_id = held_for(shop, "address_unclear", ship_to={"country": "DE", "region": "BB"})

    before = client.get(f"/v1/orders/{order_id}").json()
    correction = {"region": None, "postal_code": "10115"}
    answer = client.post(f"/v1/orders/{order_id}/decisions", json={"ship_to": correction})

    assert (before["decisions"], before["decided"]) == (["ship_to", "tax_zone"], {})
    assert answer.status_code == 202
    told = answer.json()
    assert (told["status"], told["decisions"]) == ("received", [])
    assert told["ship_to"] == {"country": "DE", "postal_code": "10115"}
    assert told["decided"] == {"ship_to": correction}
    last = client.get(f"/v1/orders/{order_id}/events").json()["items"][-1]
    assert (last["kind"], last["detail"]) == (
        "decided", {"ship_to_fields": ["postal_code", "region"]},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"charge": "all"}, "charge"),
        ({"ship_to": {"country": "Atlantis"}}, "ship_to.country"),
        ({"requeue": "yes"}, "requeue"),
        ({}, "decision"),
    ],
)
def test_what_is_no_decision_is_refused_by_field(
    client: TestClient, shop: Mill, asked: dict[str, Any], field: str
) -> None:
    order_id = held_for(shop, "total_differs")

    body = problem(client.post(f"/v1/orders/{order_id}/decisions", json=asked), 422, "invalid")

    assert field in [error["field"] for error in body["errors"]]
    assert shop.status(order_id) == "on_hold"


def test_a_decision_that_does_not_answer_the_reason_is_refused(
    client: TestClient, shop: Mill
) -> None:
    order_id = held_for(shop, "vat_unverified")

    answer = client.post(f"/v1/orders/{order_id}/decisions", json={"charge": "shown"})

    assert "total_differs" in problem(answer, 409, "not-allowed-now")["detail"]


def test_several_are_decided_about_at_once_or_none(client: TestClient, shop: Mill) -> None:
    orders = [held_for(shop, "vat_unverified") for _ in range(3)]
    other = held_for(shop, "total_differs")
    asked = {"orders": [*orders, other], "decision": {"vat": "tax"}}

    refused = client.post("/v1/orders/decisions", json=asked)
    assert {shop.status(each) for each in orders} == {"on_hold"}
    answer = client.post("/v1/orders/decisions", json={**asked, "orders": orders})

    problem(refused, 409, "not-allowed-now")
    assert (answer.status_code, answer.json()) == (202, {"decided": 3})
    assert {client.get(f"/v1/orders/{each}").json()["decided"]["vat"] for each in orders} == {"tax"}


def test_of_several_another_sources_order_is_not_there(as_: As, shop: Mill) -> None:
    order_id = held_for(shop, "vat_unverified")

    asked = {"orders": [order_id], "decision": {"vat": "tax"}}
    problem(as_("rival").post("/v1/orders/decisions", json=asked), 404)

    assert shop.status(order_id) == "on_hold"


# --- What VIES said -------------------------------------------------------------------------------


def test_an_order_tells_what_vies_said_of_its_vat_id(client: TestClient, shop: Mill) -> None:
    order_id = shop.accept()
    assert client.get(f"/v1/orders/{order_id}").json()["vat_check"] is None
    kept = {
        "vat_id": "FR40303265045", "valid": True, "said": "VALID",
        "asked_at": "2026-11-30T15:00:00Z", "requested_at": "2026-11-30T15:00:01Z",
        "consultation_number": "WAPIAAAAX3lU8bHe", "requester": "DE136695976",
    }  # fmt: skip
    with shop.database.transaction() as tx:
        update = text("UPDATE order_documents SET vat_check = :kept WHERE order_id = :id")
        tx.execute(update, {"kept": json.dumps(kept), "id": order_id})

    assert client.get(f"/v1/orders/{order_id}").json()["vat_check"] == kept
