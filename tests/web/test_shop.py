"""The shop over HTTP: its catalogue, its stock, its queues and jobs."""

from __future__ import annotations

from typing import Any

import pytest
from httpx import Response
from starlette.testclient import TestClient

from pipeline.storage import operators_log
from scheduler.table import JOBS
from tests.support import MUG, POSTER, TEE, Mill


def fields(answer: Response) -> list[str]:
    """The fields that a problem names."""
    assert answer.status_code == 422, answer.text
    return [error["field"] for error in answer.json()["errors"]]


# --- Catalogue ------------------------------------------------------------------------------------


def test_a_product_is_made_whatever_its_sku(operator: TestClient, shop: Mill) -> None:
    lamp = {"name": "Lamp", "backorder": True, "prices": [{"currency": "EUR", "price": "34.90"}]}

    answer = operator.put("/v1/products/LAMP%2F1", json=lamp)

    assert answer.status_code == 200
    assert operator.get("/v1/products/LAMP-2").status_code == 404
    made = answer.json()
    assert (made["sku"], made["tax_class"], made["weight"]) == ("LAMP/1", "standard", 0)
    assert made["prices"][0]["price"] == "34.90"


def test_what_is_left_out_of_a_product_stays(operator: TestClient, shop: Mill) -> None:
    price = {"currency": "EUR", "price": "8.00", "from_quantity": 10}
    operator.put(f"/v1/products/{MUG}", json={"name": "Mug", "weight": 300, "prices": [price]})

    operator.put(f"/v1/products/{MUG}", json={"name": "Cup"})

    shown = operator.get(f"/v1/products/{MUG}").json()
    assert (shown["name"], shown["weight"]) == ("Cup", 300)
    assert [(p["from_quantity"], p["price"]) for p in shown["prices"]] == [
        (1, "10.00"),
        (10, "8.00"),
    ]


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"name": ""}, ["name"]),
        ({"colour": "red"}, ["colour"]),
        ({"weight": -1}, ["weight"]),
        ({"prices": [{"currency": "EUR", "price": "1.001"}]}, ["prices.0.price"]),
        ({"prices": [{"currency": "EURO", "price": "1"}]}, ["prices.0.currency"]),
        ({"prices": [{"currency": "EUR", "price": "1", "weight": 1}]}, ["prices.0.weight"]),
    ],
)
def test_what_is_wrong_with_a_product_is_named(
    operator: TestClient, shop: Mill, changes: dict[str, Any], wrong: list[str]
) -> None:
    answer = operator.put("/v1/products/LAMP", json={"name": "Lamp", **changes})

    assert fields(answer) == wrong
    assert operator.get("/v1/products/LAMP").status_code == 404


def test_products_are_listed_page_by_page(client: TestClient, shop: Mill) -> None:
    first = client.get("/v1/products", params={"limit": 2}).json()
    second = client.get("/v1/products", params={"limit": 2, "cursor": first["next"]}).json()

    assert [p["sku"] for p in first["items"] + second["items"]] == [MUG, POSTER, TEE]
    assert second["next"] is None


# --- Stock ----------------------------------------------------------------------------------------


def on_hand(client: TestClient, sku: str) -> list[int]:
    return [x["on_hand"] for x in client.get("/v1/stock", params={"sku": sku}).json()["items"]]


def adjust(client: TestClient, key: str, units: int, **changes: Any) -> Response:
    given = {"sku": MUG, "units": units, "reason": "broken", **changes}
    return client.post("/v1/stock/adjustments", json=given, headers={"Idempotency-Key": key})


def test_an_adjustment_that_is_sent_again_is_done_once(operator: TestClient, shop: Mill) -> None:
    answers = [adjust(operator, "a", -3) for _ in range(2)]
    adjust(operator, "b", -3)

    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["levels"][0]["on_hand"] == 97
    assert on_hand(operator, MUG) == [94]
    assert "key-reused" in adjust(operator, "a", -4).json()["type"]


def test_what_is_promised_is_not_adjusted_away(operator: TestClient, shop: Mill) -> None:
    answer = adjust(operator, "a", -101)

    assert (answer.status_code, "can't be taken" in answer.json()["detail"]) == (422, True)
    assert on_hand(operator, MUG) == [100]
    assert adjust(operator, "a", -100).status_code == 200  # what was refused was not done


def test_a_count_is_compared_and_the_same_again_finds_no_difference(
    operator: TestClient, shop: Mill
) -> None:
    given = {"sku": MUG, "units": 90}

    found = [operator.post("/v1/stock/counts", json=given).json() for _ in range(2)]

    assert [(f["difference"], f["levels"][0]["on_hand"]) for f in found] == [(-10, 90), (0, 90)]


@pytest.mark.parametrize("at", ["yesterday", "9999-12-31T23:59:59-01:00", "2999-01-01"])
def test_a_count_at_no_time_is_refused(operator: TestClient, shop: Mill, at: str) -> None:
    answer = operator.post("/v1/stock/counts", json={"sku": MUG, "units": 1, "at": at})

    assert answer.status_code == 422
    assert on_hand(operator, MUG) == [100]


def test_stock_is_listed_page_by_page(client: TestClient, shop: Mill) -> None:
    first = client.get("/v1/stock", params={"limit": 2}).json()
    second = client.get("/v1/stock", params={"limit": 2, "cursor": first["next"]}).json()

    assert [x["sku"] for x in first["items"] + second["items"]] == [MUG, POSTER, TEE]
    assert first["items"][0]["available"] == 100


def test_the_ledger_tells_what_was_promised_to_whom(operator: TestClient, shop: Mill) -> None:
    order_id = shop.accept()
    shop.turn()

    found = operator.get("/v1/stock/movements", params={"sku": MUG}).json()["items"]
    only = operator.get("/v1/stock/movements", params={"sku": MUG, "kind": "receipt"}).json()

    assert [(m["kind"], m["quantity"], m["balance"]) for m in found] == [
        ("reservation", 0, 100), ("receipt", 100, 100),
    ]  # fmt: skip
    assert (found[0]["promised"], found[0]["promised_balance"]) == (2, 2)
    assert (found[0]["reference"], found[0]["actor"]) == (f"order {order_id}", "reserve")
    assert only["items"] == found[1:]
    refused = operator.get("/v1/stock/movements", params={"sku": MUG, "kind": "theft"})
    assert fields(refused) == ["kind.0"]


# --- Queues and jobs ------------------------------------------------------------------------------


def test_a_queue_is_paused_and_resumed(operator: TestClient, shop: Mill) -> None:
    order_id = shop.accept()

    for _ in range(2):
        assert operator.post("/v1/queues/price/pause").json()["paused"] == "api:operator"
    shop.turn()
    assert shop.status(order_id) == "validated"
    waiting = {q["queue"]: q["orders"] for q in operator.get("/v1/queues").json()}
    assert waiting["price"] == 1

    for _ in range(2):
        assert operator.post("/v1/queues/price/resume").json()["paused"] is None
    shop.turn()
    assert shop.status(order_id) == "confirmed"


def test_a_job_is_asked_for_and_its_run_is_shown(operator: TestClient, shop: Mill) -> None:
    asked = operator.post("/v1/jobs/forget-runs/run")

    assert (asked.status_code, asked.json()["state"]) == (202, "waiting")
    assert asked.json()["asked_by"] == "api:operator"
    assert operator.get(asked.headers["location"]).json() == asked.json()
    jobs = operator.get("/v1/jobs").json()
    assert {job["job"] for job in jobs} == set(JOBS)
    assert next(j["state"] for j in jobs if j["job"] == "forget-runs") == "waiting"


def test_what_a_key_does_to_queues_and_jobs_is_in_the_operators_log(
    operator: TestClient, shop: Mill
) -> None:
    run = operator.post("/v1/jobs/forget-runs/run").json()["run"]
    operator.post("/v1/queues/price/pause")
    operator.post("/v1/queues/price/resume")

    with shop.database.snapshot() as tx:
        found = operators_log.page(tx, 10, operator="api:operator")
    assert [(entry["action"], entry["target"], entry["detail"]) for entry in found] == [
        ("queue.resume", "price", {"changed": True}),
        ("queue.pause", "price", {"changed": True}),
        ("job.run", "forget-runs", {"run": run}),
    ]


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/queues/nothing/pause"), ("POST", "/v1/jobs/nothing/run"), ("GET", "/v1/jobs/runs/9")],
)  # fmt: skip
def test_what_there_is_not_is_not_found(
    operator: TestClient, shop: Mill, method: str, path: str
) -> None:
    assert operator.request(method, path).status_code == 404
