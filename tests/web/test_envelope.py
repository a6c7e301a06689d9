"""What every answer bears: an id that the log has too, headers of safety, and how much more may be asked."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from pipeline.redaction import redact
from pipeline.storage import api_keys
from tests.support import Mill
from tests.web.conftest import MakeKey
from web import callers

As = Callable[..., TestClient]

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.mark.parametrize("path", ["/v1/orders", "/v1/orders/1", "/nothing", "/healthz"])
def test_every_answer_has_an_id_and_is_safe(client: TestClient, path: str) -> None:
    headers = client.get(path).headers

    assert len(headers["x-request-id"]) == 32
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["cache-control"] == "no-store"


def test_a_clients_own_id_is_taken_over_if_it_can_be_logged(client: TestClient) -> None:
    def told(given: str) -> str:
        return client.get("/healthz", headers={"X-Request-Id": given}).headers["x-request-id"]

    assert told("req-1:a/b=") == "req-1:a/b="
    assert told("a b") != "a b"
    assert told("x" * 65) != "x" * 65


def test_what_went_wrong_is_in_the_log_with_its_id_and_key(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    key = client.headers["authorization"].split()[1]

    client.get("/v1/orders", headers={"X-Request-Id": "fine"})
    client.get("/v1/orders/7", headers={"X-Request-Id": "wrong"})

    told = [record.getMessage() for record in caplog.records if record.name == "web.access"]
    assert len(told) == 1
    assert told[0].startswith("GET /v1/orders/7 404 in ")
    assert told[0].endswith(f"request wrong, key {key.split('_')[2]}")
    assert key not in caplog.text


def test_a_defect_tells_its_id_and_nothing_of_itself(
    app: FastAPI, as_: As, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = as_("shop")
    monkeypatch.setattr("web.api.orders.views.page", lambda *_, **__: 1 / 0)

    answer = client.get("/v1/orders", headers={"X-Request-Id": "r1"})

    assert (answer.status_code, answer.json()["detail"]) == (500, "a defect; the log has it")
    assert answer.headers["x-request-id"] == "r1"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "request r1: a defect" in caplog.text


def test_who_asks_too_often_is_told_when_to_come_again(as_: As) -> None:
    client = as_("shop", rate=3)

    answers = [client.get("/v1/orders") for _ in range(6)]

    assert [answer.status_code for answer in answers][:3] == [200, 200, 200]
    refused = answers[-1]
    assert refused.status_code == 429
    assert refused.json()["type"].endswith("/rate-limited")
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["ratelimit-policy"] == '"key";q=3;w=1'
    assert refused.headers["ratelimit"] == '"key";r=0;t=1'
    assert answers[0].headers["ratelimit"] == '"key";r=2;t=1'


def test_keys_have_a_bucket_each(as_: As) -> None:
    one, other = as_("shop", rate=1), as_("shop", rate=1)

    assert [c.get("/v1/orders").status_code for c in (one, one, other)] == [200, 429, 200]


# --- Keys as they are met -------------------------------------------------------------------------


def test_a_revoked_key_is_refused_within_seconds(
    as_: As, shop: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = as_("shop")
    key_id = client.headers["authorization"].split("_")[2]
    clock = [1000.0]
    monkeypatch.setattr(callers.time, "monotonic", lambda: clock[0])
    assert client.get("/v1/orders").status_code == 200

    with shop.database.transaction() as tx:
        api_keys.revoke(tx, key_id)

    clock[0] += callers.REMEMBERED - 0.1
    assert client.get("/v1/orders").status_code == 200
    clock[0] += 0.2
    assert client.get("/v1/orders").status_code == 401


def test_an_expired_key_is_refused(as_: As, make_key: MakeKey, shop: Mill) -> None:
    client = as_("shop", lifetime=3600.0)
    with shop.database.transaction() as tx:
        api_keys.expire_within(tx, client.headers["authorization"].split("_")[2], 0.0)

    assert client.get("/v1/orders").status_code == 401


def test_that_a_key_is_in_use_is_noted_once_a_minute(as_: As, shop: Mill) -> None:
    client = as_("shop")
    for _ in range(3):
        client.get("/v1/orders")

    def used() -> Any:
        with shop.database.snapshot() as tx:
            return api_keys.all_keys(tx)[-1]["last_used_at"]

    for _ in range(100):
        if used() is not None:
            break
        client.get("/healthz")
    first = used()
    client.get("/v1/orders")

    assert first is not None
    assert used() == first


def test_a_keys_secret_is_taken_out_of_what_is_logged(make_key: MakeKey) -> None:
    key = make_key()

    told = redact(f"refused {key}, and {key!r}")

    assert key.split("_")[3] not in told
    assert key.split("_")[2] in told


def test_what_is_kept_of_a_key_does_not_open_anything(make_key: MakeKey, shop: Mill) -> None:
    key = make_key()

    kept = str(shop.query("SELECT * FROM api_keys"))

    assert key.split("_")[3] not in kept


# --- The process ----------------------------------------------------------------------------------


def test_it_is_ready_while_its_schema_is_there(client: TestClient, shop: Mill) -> None:
    assert client.get("/readyz").json() == {"status": "ready"}

    with shop.database.transaction() as tx:
        tx.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")

    answer = client.get("/readyz")
    assert (answer.status_code, "ordermill db upgrade" in answer.json()["detail"]) == (503, True)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("DELETE", "/v1/orders", 405), ("GET", "/v1/orders/batch", 422), ("GET", "/v1/orders/", 404)],
)
def test_what_there_is_not_is_a_problem(
    client: TestClient, method: str, path: str, status: int
) -> None:
    answer = client.request(method, path)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
