"""Fulfilment over HTTP: what left and what came back, each once under its reference."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from httpx import Response
from starlette.testclient import TestClient

from pipeline.access import Scope
from pipeline.source import Policy
from pipeline.storage import archive, sources
from tests.support import MUG, TEE, Mill
from tests.web.test_orders import confirmed, problem

As = Callable[..., TestClient]
VISA = "4242424242424242"


@pytest.fixture
def order(shop: Mill) -> int:
    """Three mugs and a shirt, sold and paid."""
    return confirmed(shop, lines=[(MUG, 3), (TEE, 1)])


def ship(client: TestClient, order: int, **asked: Any) -> Response:
    return client.post(f"/v1/orders/{order}/fulfilments", json={"reference": "P-1", **asked})


def take_back(client: TestClient, order: int, **asked: Any) -> Response:
    content = {"reference": "R-1", "lines": {"1": 1}, "restock": "main", **asked}
    return client.post(f"/v1/orders/{order}/returns", json=content)


def on_hand(client: TestClient, sku: str = MUG) -> int:
    [level] = client.get("/v1/stock", params={"sku": sku}).json()["items"]
    return int(level["on_hand"])


# --- What leaves ------------------------------------------------------------------------------------


def test_all_that_is_left_is_shipped(client: TestClient, order: int) -> None:
    answer = ship(client, order, carrier="DHL", tracking="JD01")

    assert answer.status_code == 201
    made = answer.json()
    assert {k: made[k] for k in ("reference", "carrier", "tracking", "lines", "capture")} == {
        "reference": "P-1",
        "carrier": "DHL",
        "tracking": "JD01",
        "lines": [
            {"line": 1, "sku": MUG, "units": 3, "location": "main"},
            {"line": 2, "sku": TEE, "units": 1, "location": "main"},
        ],
        "capture": None,
    }
    assert client.get(f"/v1/orders/{order}").json()["fulfilment_status"] == "fulfilled"
    assert on_hand(client) == 97


def test_units_of_lines_are_shipped_and_each_shipment_is_listed(
    client: TestClient, shop: Mill, order: int
) -> None:
    ship(client, order, lines={"1": 2})
    ship(client, order, reference=None, tracking="JD02", lines={"1": 1})

    listed = client.get(f"/v1/orders/{order}/fulfilments").json()

    assert [(x["reference"], x["lines"][0]["units"]) for x in listed["items"]] == [
        ("P-1", 2),
        ("JD02", 1),
    ]
    assert listed["items"][0]["actor"] == "api:shop"
    assert listed["next"] is None
    assert client.get(f"/v1/orders/{order}").json()["fulfilment_status"] == "partial"
    assert shop.timeline(order).count("shipped") == 2


def test_an_order_of_which_nothing_left_has_an_empty_list(client: TestClient, order: int) -> None:
    for name in ("fulfilments", "returns"):
        assert client.get(f"/v1/orders/{order}/{name}").json() == {"items": [], "next": None}
    assert client.get(f"/v1/orders/{order}").json()["fulfilment_status"] == "unfulfilled"


def test_the_same_at_once_is_shipped_once(client: TestClient, shop: Mill, order: int) -> None:
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: ship(client, order, lines={"1": 2}), range(4)))

    assert sorted(a.status_code for a in answers) == [200, 200, 200, 201]
    assert len({a.json()["at"] for a in answers}) == 1
    assert shop.timeline(order).count("shipped") == 1
    assert on_hand(client) == 98


def test_other_content_under_a_reference_is_a_conflict(client: TestClient, order: int) -> None:
    ship(client, order, lines={"1": 2})

    body = problem(ship(client, order, lines={"1": 1}), 409, "conflict")

    assert body["errors"] == [
        {
            "field": "reference",
            "value": "P-1",
            "expected": "one under which nothing else was shipped",
        }
    ]


def test_a_shipment_that_is_sent_again_with_its_etag_is_not_refused_for_its_own_change(
    client: TestClient, order: int
) -> None:
    headers = {"If-Match": client.get(f"/v1/orders/{order}").headers["etag"]}
    path = f"/v1/orders/{order}/fulfilments"

    answers = [client.post(path, json={"reference": "P-1"}, headers=headers) for _ in range(2)]
    other = client.post(path, json={"reference": "P-2"}, headers=headers)

    assert [answer.status_code for answer in answers] == [201, 200]
    problem(other, 412, "version-passed")


def test_what_is_due_is_asked_for_with_the_shipment(client: TestClient, shop: Mill) -> None:
    with shop.database.transaction() as tx:
        sources.put(tx, "shop", Policy(gateway="sandbox", capture="later"))
        shop.source = sources.by_name(tx, "shop")
    order = confirmed(shop)

    made = ship(client, order, capture=True).json()
    shop.payment_tasks.run()

    assert (made["capture"]["amount"], made["capture"]["state"]) == ("20.00", "requested")
    assert client.get(f"/v1/orders/{order}").json()["payment_status"] == "captured"


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"lines": {"1": 4}}, "lines.1"),
        ({"lines": {"7": 1}}, "lines.7"),
        ({"location": "moon"}, "lines"),
    ],
)
def test_what_is_not_there_is_not_shipped_and_the_field_is_named(
    client: TestClient, shop: Mill, order: int, asked: dict[str, Any], field: str
) -> None:
    ship(client, order, lines={"2": 1}, reference="P-0")
    before = shop.timeline(order)

    body = problem(ship(client, order, **asked), 422, "invalid")

    assert [error["field"] for error in body["errors"]] == [field]
    assert shop.timeline(order) == before


def test_every_bad_field_is_named_at_once_and_no_card_number_repeated(
    client: TestClient, order: int
) -> None:
    path = f"/v1/orders/{order}"
    shipment = {"lines": {}, "location": "x" * 33, "carrier": VISA, "tracking": "a\tb", "box": 1}

    shipped = problem(client.post(f"{path}/fulfilments", json=shipment), 422, "invalid")
    nameless = problem(client.post(f"{path}/fulfilments", json={}), 422, "invalid")
    back = problem(client.post(f"{path}/returns", json={"reason": ""}), 422, "invalid")

    def fields(body: dict[str, Any]) -> set[str]:
        return {error["field"] for error in body["errors"]}

    assert fields(shipped) == {"lines", "location", "carrier", "tracking", "box"}
    assert VISA not in str(shipped)
    assert [(e["field"], e["expected"]) for e in nameless["errors"]] == [
        ("reference", "a reference, or a tracking number")
    ]
    assert fields(back) == {"reference", "lines", "restock", "reason"}


def test_only_a_confirmed_order_is_shipped_or_taken_back(client: TestClient, shop: Mill) -> None:
    order = shop.accept()

    for answer in (ship(client, order), take_back(client, order)):
        problem(answer, 409, "not-allowed-now")


# --- What comes back --------------------------------------------------------------------------------


def test_units_come_back_into_stock_and_are_refunded(
    client: TestClient, shop: Mill, order: int
) -> None:
    ship(client, order)

    answer = take_back(client, order, lines={"1": 2}, reason="too small", refund=True)
    shop.payment_tasks.run()

    assert answer.status_code == 201
    made = answer.json()
    assert (made["restock"], made["reason"]) == ("main", "too small")
    assert made["lines"] == [{"line": 1, "sku": MUG, "units": 2}]
    assert (made["refund"]["amount"], made["refund"]["currency"]) == ("20.00", "EUR")
    assert on_hand(client) == 99
    [listed] = client.get(f"/v1/orders/{order}/returns").json()["items"]
    assert listed == {k: v for k, v in made.items() if k != "refund"}
    shown = client.get(f"/v1/orders/{order}").json()
    assert shown["payment_status"] == "partially_refunded"


def test_units_may_come_back_into_no_stock(client: TestClient, order: int) -> None:
    ship(client, order)

    made = take_back(client, order, restock=None).json()

    assert (made["restock"], made["refund"]) == (None, None)
    assert on_hand(client) == 97


def test_the_same_return_again_is_taken_back_once(
    client: TestClient, shop: Mill, order: int
) -> None:
    ship(client, order)

    answers = [take_back(client, order, refund=True) for _ in range(2)]
    other = take_back(client, order, lines={"1": 2})

    assert [answer.status_code for answer in answers] == [201, 200]
    problem(other, 409, "conflict")
    assert shop.timeline(order).count("returned") == 1
    assert shop.timeline(order).count("refund_requested") == 1


def test_more_than_was_shipped_does_not_come_back(client: TestClient, order: int) -> None:
    ship(client, order, lines={"1": 2})

    body = problem(take_back(client, order, lines={"1": 3, "2": 1}), 422, "invalid")

    assert body["errors"][0]["field"] == "lines.1"
    assert "1 to 2 units" in body["errors"][0]["expected"]


# --- Who may ----------------------------------------------------------------------------------------


def test_what_left_of_an_archived_order_is_told_as_before(
    client: TestClient, shop: Mill, order: int
) -> None:
    ship(client, order)
    with shop.database.transaction() as tx:
        archive.move(tx, [order])

    told = client.get(f"/v1/orders/{order}").json()
    listed = client.get(f"/v1/orders/{order}/fulfilments").json()["items"]

    assert told["fulfilment_status"] == "fulfilled"
    assert len(listed) == 1


def test_looking_needs_less_than_shipping(as_: As, order: int) -> None:
    reader = as_("shop", Scope.ORDERS_READ)

    assert reader.get(f"/v1/orders/{order}/fulfilments").status_code == 200
    problem(ship(reader, order), 403, "forbidden")
