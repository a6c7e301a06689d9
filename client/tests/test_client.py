"""What goes over the wire, and what is made of what comes back; the API is stood for by a function."""

from __future__ import annotations

import gc
import json
import re
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from ordermill_client import (
    ApiError,
    BatchInterrupted,
    Client,
    NoAnswer,
    NotSettled,
    RateLimited,
    Retries,
    Unauthenticated,
    Unavailable,
)
from ordermill_client.batch import MOST_LINES

from client.tests.conftest import Handler, MakeClient
from tests.support import an_order
from web.problems import type_of

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Recording:
    """Answers as it is told to, and keeps what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.seen: list[httpx.Request] = []
        self._answers = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


class Cut(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that breaks off."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self._content
        raise httpx.ReadError("reset by peer")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self:
            yield part


def problem(status: int, kind: str = "", **headers: str) -> httpx.Response:
    body = {"type": type_of(kind), "title": "T", "status": status, "detail": "d"}
    return httpx.Response(status, headers=headers, json=body)


def an_order_told(**changes: Any) -> dict[str, Any]:
    return {
        "id": 7, "source": "web", "external_id": "web-1001", "status": "received", "reason": None,
        "stage": "validate", "currency": "EUR", "total": None, "version": 1,
        "accepted_at": NOON.isoformat(), "updated_at": NOON.isoformat(), "settled_at": None,
        "fulfilment_status": "unfulfilled",
        "payment_status": "none", "net": None, "tax": None, "shipping": None, "lines": [],
        "customer": {}, "ship_to": {"country": "DE"}, **changes,
    }  # fmt: skip


# --- What is asked --------------------------------------------------------------------------------

Asking = tuple[Callable[[Any], Any], str, str, dict[str, str], Any]
ORDER = an_order(external_id="web-1001")
ASKED: list[Asking] = [
    (lambda c: c.place(ORDER), "POST", "/v1/orders", {}, ORDER),
    (lambda c: c.quote(ORDER), "POST", "/v1/quotes", {}, ORDER),
    (lambda c: c.order(7), "GET", "/v1/orders/7", {}, None),
    (lambda c: c.timeline(7), "GET", "/v1/orders/7/events", {}, None),
    (lambda c: c.stock_of(7), "GET", "/v1/orders/7/stock", {}, None),
    (lambda c: c.wait_until_settled(7), "GET", "/v1/orders/7", {}, None),
    (
        lambda c: next(c.orders(status="on_hold", updated_since=NOON)),
        "GET",
        "/v1/orders",
        {"status": "on_hold", "updated_since": "2026-11-23T12:00:00+00:00", "limit": "500"},
        None,
    ),
    (
        lambda c: next(c.events("eyJ", since=NOON, limit=5)),
        "GET",
        "/v1/events",
        {"cursor": "eyJ", "limit": "5"},
        None,
    ),
    (lambda c: c.cancel(7), "POST", "/v1/orders/7/cancel", {}, None),
    (lambda c: c.requeue(7), "POST", "/v1/orders/7/requeue", {}, None),
    (
        lambda c: c.refund(7, lines={1: 2}, shipping=True, reason="broken"),
        "POST",
        "/v1/orders/7/refunds",
        {},
        {"lines": {"1": 2}, "shipping": True, "reason": "broken"},
    ),
    (
        lambda c: c.refund(7, amount=Decimal("1.50")),
        "POST",
        "/v1/orders/7/refunds",
        {},
        {"amount": "1.50"},
    ),
    (lambda c: next(c.products()), "GET", "/v1/products", {"limit": "500"}, None),
    (lambda c: c.product("A/B 1"), "GET", "/v1/products/A%2FB%201", {}, None),
    (
        lambda c: c.put_product(
            "MUG-01", name="Mug", prices=[{"currency": "EUR", "price": "9.90"}]
        ),
        "PUT",
        "/v1/products/MUG-01",
        {},
        {
            "name": "Mug",
            "active": True,
            "backorder": False,
            "prices": [{"currency": "EUR", "price": "9.90"}],
        },
    ),
    (
        lambda c: next(c.stock("MUG-01")),
        "GET",
        "/v1/stock",
        {"sku": "MUG-01", "limit": "500"},
        None,
    ),
    (
        lambda c: c.adjust_stock("MUG-01", -1, "broken"),
        "POST",
        "/v1/stock/adjustments",
        {},
        {"sku": "MUG-01", "units": -1, "reason": "broken", "location": "main"},
    ),
    (
        lambda c: c.count_stock("MUG-01", 40, at=NOON),
        "POST",
        "/v1/stock/counts",
        {},
        {"sku": "MUG-01", "units": 40, "location": "main", "at": "2026-11-23T12:00:00+00:00"},
    ),
    (lambda c: c.request("get", "/v1/queues"), "GET", "/v1/queues", {}, None),
]


@pytest.mark.parametrize(("ask", "method", "path", "params", "body"), ASKED)
def test_each_operation_asks_what_the_api_says(
    make_client: MakeClient,
    ask: Callable[[Any], Any],
    method: str,
    path: str,
    params: dict[str, str],
    body: Any,
) -> None:
    api = Recording(problem(418))
    client = make_client(api, key="om_live_1_2")

    with pytest.raises(ApiError, match="418"):
        ask(client)

    [asked] = api.seen
    assert (asked.method, asked.url.raw_path.decode().partition("?")[0]) == (method, path)
    assert dict(asked.url.params) == params
    assert (json.loads(asked.content) if asked.content else None) == body
    assert ("content-type" in asked.headers) is (body is not None)
    assert asked.headers["authorization"] == "Bearer om_live_1_2"


def test_all_that_is_asked_is_in_the_api_s_description(app: FastAPI) -> None:
    described = {
        (method.upper(), re.compile(re.sub(r"\{\w+\}", "[^/]+", path)))
        for path, item in app.openapi()["paths"].items()
        for method in item
    }

    for _, method, path, _, _ in ASKED:
        assert any(m == method and p.fullmatch(path) for m, p in described), f"{method} {path}"


def test_a_version_that_was_seen_is_sent_as_an_etag(make_client: MakeClient) -> None:
    api = Recording(httpx.Response(202, json=an_order_told()))
    client = make_client(api)

    client.cancel(7, if_version=3)
    client.cancel(7)

    assert [seen.headers.get("if-match") for seen in api.seen] == ['"3"', None]


def test_one_call_has_one_idempotency_key_however_often_it_is_tried(
    make_client: MakeClient,
) -> None:
    done = {
        "id": "r1", "order_id": 7, "amount": "1.00", "net": "0.84", "tax": "0.16",
        "currency": "EUR", "state": "requested",
    }  # fmt: skip
    api = Recording(
        problem(503), httpx.ReadError("reset"), httpx.Response(202, json=done), problem(429),
        httpx.Response(202, json=done),
    )  # fmt: skip
    client = make_client(api)

    client.refund(7)
    client.refund(7)
    client.refund(7, idempotency_key="rma-17")

    first, second, third, fourth, fifth, given = [r.headers["idempotency-key"] for r in api.seen]
    assert first == second == third
    assert fourth == fifth != first
    assert given == "rma-17"


@pytest.mark.parametrize(
    ("ask", "tries"),
    [
        (lambda c: c.cancel(7), 2),
        (lambda c: c.cancel(7, if_version=1), 1),
        (lambda c: c.requeue(7), 1),
        (lambda c: c.count_stock("MUG-01", 4), 1),
        (lambda c: c.request("POST", "/v1/jobs/announce/run"), 1),
        (lambda c: c.request("POST", "/v1/webhooks", json={}, idempotency_key="k"), 2),
        (lambda c: c.request("DELETE", "/v1/webhooks/1"), 2),
    ],
)
def test_what_may_have_been_done_is_asked_again_only_where_that_does_no_harm(
    make_client: MakeClient, ask: Callable[[Any], Any], tries: int
) -> None:
    api = Recording(httpx.ReadTimeout("timed out"), problem(418))

    with pytest.raises(ApiError if tries == 2 else NoAnswer):
        ask(make_client(api))

    assert len(api.seen) == tries


def test_a_redirect_is_not_followed_so_the_key_goes_nowhere_else(make_client: MakeClient) -> None:
    api = Recording(httpx.Response(307, headers={"location": "http://elsewhere.test/"}))

    with pytest.raises(ApiError, match="307"):
        make_client(api).order(7)

    assert [str(seen.url) for seen in api.seen] == ["http://api.test/v1/orders/7"]


def test_the_key_is_not_shown(make_client: MakeClient) -> None:
    client = make_client(Recording(httpx.ConnectError("refused")), key="om_live_secret",
                         retries=Retries(within=0))  # fmt: skip

    with pytest.raises(NoAnswer) as failed:
        client.order(7)

    assert "secret" not in repr(client) + repr(failed.value) + str(failed.value)


@pytest.mark.parametrize(
    ("url", "key", "wrong"),
    [("orders.example", "k", "url"), ("ftp://x", "k", "url"), ("http://x", "", "key"),
     ("https://ada:pw@x", "k", "url"),
     ("http://x", "k\n", "key"), ("http://x", "schlüssel", "key")],
)  # fmt: skip
def test_what_can_not_work_is_refused_at_once(url: str, key: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=f"^{wrong}: ") as refused:
        Client(url, key)

    assert key not in str(refused.value) or wrong == "url" or not key


def test_what_can_not_be_sent_as_it_is_meant_is_refused(make_client: MakeClient) -> None:
    client = make_client(Recording(problem(418)))

    with pytest.raises(TypeError, match=r"amount: got 0\.1"):
        client.refund(7, amount=0.1)
    with pytest.raises(ValueError, match="idempotency_key: got 'é'"):
        client.refund(7, idempotency_key="é")
    with pytest.raises(ValueError, match="at: got"):
        client.count_stock("MUG-01", 1, at=datetime(2026, 11, 23))


# --- What is answered -----------------------------------------------------------------------------


def test_fields_and_values_of_tomorrow_do_no_harm(make_client: MakeClient) -> None:
    told = {"id": 1, "external_id": "a", "verdict": "merged", "status": "received", "mood": "good"}

    placed = make_client(Recording(httpx.Response(202, json=told))).place(ORDER)

    assert (placed.id, placed.verdict) == (1, "merged")


@pytest.mark.parametrize("body", [b"<html>Welcome to our hotel</html>", b"", b"[]", b'{"id": "x"}'])
def test_a_success_that_is_not_the_api_s_is_no_answer(make_client: MakeClient, body: bytes) -> None:
    with pytest.raises(NoAnswer, match="answered 200"):
        make_client(Recording(httpx.Response(200, content=body))).place(ORDER)


def test_any_call_can_be_made(make_client: MakeClient) -> None:
    api = Recording(httpx.Response(200, json=[{"queue": "pay"}]), httpx.Response(204))
    client = make_client(api)

    assert client.request("GET", "/v1/queues", params={"a": "b"}) == [{"queue": "pay"}]
    assert client.request("DELETE", "/v1/webhooks/1") is None
    assert str(api.seen[0].url).endswith("/v1/queues?a=b")


def test_a_list_is_read_to_its_end(make_client: MakeClient) -> None:
    pages = [[1, 2], [3], []]
    api = Recording(
        *(
            httpx.Response(
                200,
                json={
                    "items": [an_order_told(id=i) for i in ids],
                    "next": f"c{n}" if n < 2 else None,
                },
            )
            for n, ids in enumerate(pages)
        )
    )

    found = [order.id for order in make_client(api).orders(status="received")]

    assert found == [1, 2, 3]
    assert [seen.url.params.get("cursor") for seen in api.seen] == [None, "c0", "c1"]
    assert {seen.url.params["status"] for seen in api.seen} == {"received"}


def test_the_feed_is_read_page_by_page_until_there_is_no_more_now(make_client: MakeClient) -> None:
    api = Recording(
        httpx.Response(200, json={"items": [], "next": "a", "more": True}),
        httpx.Response(200, json={"items": [], "next": "b", "more": False}),
    )

    pages = list(make_client(api).events(since=NOON))

    assert [page.next for page in pages] == ["a", "b"]
    assert [seen.url.params.get("cursor") for seen in api.seen] == [None, "a"]
    assert [("since" in seen.url.params) for seen in api.seen] == [True, False]


def test_an_order_is_waited_for_and_not_read_again_while_it_is_as_it_was(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ordermill_client.operations.LOOK", 0.001)
    api = Recording(
        httpx.Response(200, json=an_order_told(), headers={"etag": '"1"'}),
        httpx.Response(304, headers={"etag": '"1"'}),
        httpx.Response(200, json=an_order_told(status="confirmed"), headers={"etag": '"2"'}),
    )

    order = make_client(api).wait_until_settled(7)

    assert order.status == "confirmed"
    assert [seen.headers.get("if-none-match") for seen in api.seen] == [None, '"1"', '"1"']


def test_waiting_ends_with_the_order_as_it_is_then(make_client: MakeClient) -> None:
    api = Recording(httpx.Response(200, json=an_order_told(status="backordered")))

    with pytest.raises(NotSettled, match="order 7 is backordered") as late:
        make_client(api).wait_until_settled(7, timeout=0.01)

    assert late.value.order.status == "backordered"


# --- Many orders ----------------------------------------------------------------------------------


def taking_all(seen: list[list[str]]) -> Handler:
    """An API that accepts whatever comes; `seen` is what came, request by request."""

    def take(request: httpx.Request) -> httpx.Response:
        orders = [json.loads(line) for line in request.content.splitlines()]
        seen.append([order["external_id"] for order in orders])
        return httpx.Response(200, content=b"".join(map(verdict, range(1, len(orders) + 1))))

    return take


def verdict(line: int) -> bytes:
    told = {"line": line, "external_id": f"x-{line}", "verdict": "accepted", "id": line}
    return json.dumps(told).encode() + b"\n"


def test_verdicts_are_numbered_through_and_orders_drawn_as_verdicts_are_taken(
    make_client: MakeClient,
) -> None:
    drawn, taken, ahead, seen = 0, 0, 0, list[list[str]]()

    def orders() -> Iterator[dict[str, Any]]:
        nonlocal drawn
        for drawn in range(1, 2_501):
            yield {"external_id": f"web-{drawn}"}

    for told in make_client(taking_all(seen)).place_all(orders()):
        taken += 1
        ahead = max(ahead, drawn - taken)
        assert told.line == taken

    assert taken == 2_500
    assert ahead < MOST_LINES
    assert [len(part) for part in seen] == [1000, 1000, 500]


def test_long_orders_go_in_smaller_parts(make_client: MakeClient) -> None:
    seen = list[list[str]]()
    orders = [{"external_id": f"web-{n}", "metadata": {"note": "x" * 100_000}} for n in range(7)]

    verdicts = list(make_client(taking_all(seen)).place_all(orders))

    assert len(verdicts) == 7
    assert [len(part) for part in seen] == [3, 3, 1]


def test_memory_does_not_grow_with_the_orders(make_client: MakeClient) -> None:
    note = "x" * 100_000
    orders = ({"external_id": f"web-{n}", "metadata": {"note": note + str(n)}} for n in range(500))
    client = make_client(taking_all([]))
    list(client.place_all([{"external_id": "first"}]))

    tracemalloc.start()
    kept = []
    for _ in client.place_all(orders):
        gc.collect(0)  # httpx's answers refer to themselves
        kept.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()

    assert len(kept) == 500
    assert max(kept) < 5_000_000  # of the 50 MB that were sent


def test_no_orders_are_no_request(make_client: MakeClient) -> None:
    api = Recording(problem(418))

    assert list(make_client(api).place_all([])) == []
    assert api.seen == []


def test_of_an_answer_that_was_cut_what_was_told_is_told_and_the_rest_is_sent_again(
    make_client: MakeClient,
) -> None:
    seen, orders = list[list[str]](), [{"external_id": f"web-{n}"} for n in range(1, 6)]
    take, cuts = taking_all(seen), iter([2, 0, 1])

    def cutting(request: httpx.Request) -> httpx.Response:
        whole = take(request)
        upto = next(cuts, None)
        if upto is None:
            return whole
        told = b"".join(map(verdict, range(1, upto + 1))) + verdict(upto + 1)[:20]
        return httpx.Response(200, stream=Cut(told))

    verdicts = list(make_client(cutting).place_all(orders))

    assert [v.line for v in verdicts] == [1, 2, 3, 4, 5]
    assert [len(part) for part in seen] == [5, 3, 3, 2]
    assert seen[-1] == ["web-4", "web-5"]


@pytest.mark.parametrize(
    ("answer", "cause", "tries"),
    [
        (problem(401, "unauthenticated"), Unauthenticated, 1),
        (problem(429, "rate-limited", **{"Retry-After": "600"}), RateLimited, 1),
        (problem(503, "unavailable", **{"Retry-After": "600"}), Unavailable, 1),
        (httpx.Response(200, content=b"<html>"), NoAnswer, None),
        (httpx.ReadError("reset"), NoAnswer, None),
    ],
)
def test_who_gives_up_says_which_have_no_verdict(
    make_client: MakeClient,
    answer: httpx.Response | Exception,
    cause: type[Exception],
    tries: int | None,
) -> None:
    first = httpx.Response(200, content=b"".join(map(verdict, range(1, MOST_LINES + 1))))
    api = Recording(first, answer)
    orders = ({"external_id": f"web-{n}"} for n in range(1, 3_000))
    verdicts = make_client(api, retries=Retries(within=0.05, first=0.01)).place_all(orders)
    told = [next(verdicts).line for _ in range(MOST_LINES)]

    with pytest.raises(BatchInterrupted, match="1000 lines from 1001 to 2000") as cut:
        next(verdicts)

    assert told == list(range(1, 1001))
    assert [line for line, _ in cut.value.unanswered] == list(range(1001, 2001))
    assert cut.value.unanswered[0][1] == {"external_id": "web-1001"}
    assert isinstance(cut.value.__cause__, cause)
    assert next(orders) == {"external_id": "web-2001"}, "it drew more than it says"
    assert tries is None or len(api.seen) == 1 + tries


def test_an_order_that_is_no_json_is_named(make_client: MakeClient) -> None:
    client = make_client(Recording(problem(418)))

    with pytest.raises(TypeError, match="order 2: "):
        list(client.place_all([{"external_id": "a"}, {"external_id": object()}]))


async def _awaited_orders() -> AsyncIterator[dict[str, Any]]:
    for n in range(3):
        yield {"external_id": f"web-{n}"}


def test_orders_may_be_awaited_where_one_can_await(make_client: MakeClient) -> None:
    seen = list[list[str]]()
    client = make_client(taking_all(seen))

    if isinstance(client, Client):
        with pytest.raises(TypeError, match="AsyncClient"):
            list(client.place_all(_awaited_orders()))
    else:
        assert len(list(client.place_all(_awaited_orders()))) == 3
