"""Webhooks over HTTP: endpoints made, shown, rotated, disabled; what was delivered, and again."""

from __future__ import annotations

from typing import Any

import pytest
from httpx import Response
from starlette.testclient import TestClient

from pipeline.storage.database import Database
from pipeline.storage.tables import webhook_deliveries
from pipeline.webhooks.endpoints import MOST_ENDPOINTS
from pipeline.webhooks.types import USUAL
from tests.support import Mill

URL = "https://shop.example/hooks"


def make(client: TestClient, key: str = "k", **changes: Any) -> Response:
    given = {"url": URL, **changes}
    return client.post("/v1/webhooks", json=given, headers={"Idempotency-Key": key})


def made(client: TestClient, **changes: Any) -> dict[str, Any]:
    answer = make(client, **changes)
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_an_endpoint_is_made_and_its_secret_told_once(client: TestClient, shop: Mill) -> None:
    answer = make(client, types=["order.confirmed"])

    told = answer.json()
    assert (answer.status_code, told["state"]) == (201, "enabled")
    assert told["secret"].startswith("whsec_")
    assert told["types"] == ["order.confirmed"]
    shown = client.get(answer.headers["location"]).json()
    assert shown == {k: v for k, v in told.items() if k != "secret"}
    assert client.get("/v1/webhooks").json() == [shown]


def test_the_same_request_again_makes_one_endpoint_and_keeps_no_secret(
    client: TestClient, shop: Mill
) -> None:
    first, second = make(client), make(client)

    assert first.json()["secret"].startswith("whsec_")
    assert second.json() == {**first.json(), "secret": None}
    assert len(client.get("/v1/webhooks").json()) == 1
    [kept] = shop.query("SELECT answer FROM idempotency")
    assert "whsec" not in kept.answer
    assert "key-reused" in make(client, types=["*"]).json()["type"]


def test_who_says_nothing_is_told_of_what_is_usual(client: TestClient, shop: Mill) -> None:
    assert made(client)["types"] == sorted(USUAL)


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        ({"url": "http://shop.example/"}, "url", "expected https"),
        ({"url": "https://10.0.0.1/"}, "url", "not of the public internet"),
        ({"url": "https://ada:pw@shop.example/"}, "url", "no user"),
        ({"url": ""}, "url", ""),
        ({"types": ["order.confrimed"]}, "types.0", "a type of events"),
        ({"since": "yesterday"}, "since", ""),
        ({"since": "2026-11-01T00:00:00"}, "since", ""),
        ({"secret": "mine"}, "secret", ""),
    ],
)
def test_what_is_wrong_is_named(
    client: TestClient, shop: Mill, changes: dict[str, Any], field: str, expected: str
) -> None:
    answer = make(client, **changes)

    assert answer.status_code == 422, answer.text
    [error] = answer.json()["errors"]
    assert error["field"] == field
    assert expected in error["expected"]
    assert client.get("/v1/webhooks").json() == []


def test_a_source_has_so_many_endpoints_and_no_more(client: TestClient, shop: Mill) -> None:
    all_of_them = [made(client, key=f"k{n}") for n in range(MOST_ENDPOINTS)]

    refused = make(client, "one more")
    client.post(f"/v1/webhooks/{all_of_them[0]['id']}/disable")

    assert refused.status_code == 422
    assert "disable one" in refused.json()["detail"]
    assert make(client, "one more").status_code == 201


def test_what_was_disabled_to_make_room_is_not_enabled_beside_it(
    client: TestClient, shop: Mill
) -> None:
    first, second, *_ = [made(client, key=f"k{n}") for n in range(MOST_ENDPOINTS)]
    client.post(f"/v1/webhooks/{first['id']}/disable")
    made(client, key="in its place")

    refused = client.post(f"/v1/webhooks/{first['id']}/enable")
    client.post(f"/v1/webhooks/{second['id']}/disable")
    enabled = client.post(f"/v1/webhooks/{first['id']}/enable")

    assert (refused.status_code, "disable one" in refused.json()["detail"]) == (422, True)
    assert (enabled.status_code, enabled.json()["state"]) == (200, "enabled")


def test_a_rotation_that_is_sent_again_is_done_once(client: TestClient, shop: Mill) -> None:
    hook = made(client)
    url, key = f"/v1/webhooks/{hook['id']}/rotate", {"Idempotency-Key": "r"}

    first, second = (client.post(url, headers=key) for _ in range(2))

    assert first.json()["secret"] not in (None, hook["secret"])
    assert second.json() == {**first.json(), "secret": None}


def test_an_endpoint_is_disabled_and_enabled_and_twice_is_once(
    client: TestClient, shop: Mill
) -> None:
    url = f"/v1/webhooks/{made(client)['id']}"

    off = [client.post(f"{url}/disable").json() for _ in range(2)]
    refused = client.post(f"{url}/test")
    on = [client.post(f"{url}/enable").json() for _ in range(2)]

    assert off[0] == off[1]
    assert (off[0]["state"], off[0]["disabled_by"]) == ("disabled", "api:shop")
    assert (refused.status_code, "enable it first" in refused.json()["detail"]) == (409, True)
    assert on[0] == on[1]
    assert (on[0]["state"], on[0]["disabled_at"]) == ("enabled", None)


def test_a_test_is_asked_for_and_its_log_shown(client: TestClient, shop: Mill) -> None:
    hook = made(client)

    asked = client.post(f"/v1/webhooks/{hook['id']}/test")

    assert asked.status_code == 202
    told = asked.json()
    assert (told["type"], told["state"], told["event"]) == ("webhook.test", "pending", "test_1")
    assert client.get(asked.headers["location"]).json() == {**told, "log": []}


def test_deliveries_are_listed_page_by_page_and_by_state(
    client: TestClient, shop: Mill, database: Database
) -> None:
    url = f"/v1/webhooks/{made(client)['id']}"
    for _ in range(3):
        client.post(f"{url}/test")
    with database.transaction() as tx:
        tx.execute(
            webhook_deliveries.update().where(webhook_deliveries.c.id == 2).values(state="failed")
        )

    first = client.get(f"{url}/deliveries", params={"limit": 2}).json()
    second = client.get(f"{url}/deliveries", params={"limit": 2, "cursor": first["next"]}).json()
    failed = client.get(f"{url}/deliveries", params={"state": "failed"}).json()

    assert [d["id"] for d in first["items"] + second["items"]] == [3, 2, 1]
    assert second["next"] is None
    assert [d["id"] for d in failed["items"]] == [2]


def test_one_or_all_that_failed_are_delivered_again(
    client: TestClient, shop: Mill, database: Database
) -> None:
    url = f"/v1/webhooks/{made(client)['id']}"
    for _ in range(3):
        client.post(f"{url}/test")
    with database.transaction() as tx:
        tx.execute(webhook_deliveries.update().values(state="failed"))

    one = client.post(f"{url}/deliveries/1/redeliver")
    rest = client.post(f"{url}/redeliver")

    assert (one.status_code, one.json()["state"]) == (202, "pending")
    assert (rest.status_code, rest.json()) == (202, {"deliveries": 2})
    assert client.post(f"{url}/deliveries/9/redeliver").status_code == 404


def test_an_operator_sees_all_endpoints(
    operator: TestClient, client: TestClient, shop: Mill
) -> None:
    hook = made(client)

    assert [each["id"] for each in operator.get("/v1/webhooks").json()] == [hook["id"]]
    assert operator.post(f"/v1/webhooks/{hook['id']}/disable").json()["state"] == "disabled"
