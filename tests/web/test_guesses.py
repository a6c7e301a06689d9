"""Codes of coupons can't be guessed at the rate at which a key may ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipeline.source import Policy
from pipeline.storage import sources
from tests.support import Mill, an_order
from web import guesses, rates

RULES = {
    "promotions": [
        {"id": "ten", "name": "Ten", "target": "order",
         "effect": {"type": "percent", "percent": "10"}},
    ],
    "coupons": [{"code": "TEN", "promotions": ["ten"]}],
}  # fmt: skip
PATHS = ["/v1/quotes", "/v1/orders"]


@pytest.fixture(autouse=True)
def _time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guesses, "AT_ONCE", 3)
    monkeypatch.setattr(guesses, "Bucket", lambda rate, most: rates.Bucket(rate, lambda: 0.0, most))


@pytest.fixture
def priced(shop: Mill) -> Mill:
    shop.price_by(RULES)
    return shop


def give(client: TestClient, path: str, *codes: str) -> Any:
    return client.post(path, json=an_order(coupons=list(codes)))


@pytest.mark.parametrize("path", PATHS)
def test_after_a_few_unknown_codes_no_other_is_looked_at(
    client: TestClient, priced: Mill, path: str
) -> None:
    told = [give(client, path, f"GUESS-{n}").status_code for n in range(5)]

    assert 429 not in told[:3]
    assert told[3:] == [429, 429]


def test_codes_of_one_order_count_one_by_one(client: TestClient, priced: Mill) -> None:
    many = give(client, "/v1/quotes", "A1", "A2", "A3", "A4", "TEN")

    assert (many.status_code, many.headers["retry-after"]) == (429, "1")


@pytest.mark.parametrize("path", PATHS)
def test_codes_that_exist_cost_nothing(client: TestClient, priced: Mill, path: str) -> None:
    told = [give(client, path, "TEN").status_code for _ in range(5)]

    assert all(status < 300 for status in told)


@pytest.mark.parametrize("path", PATHS)
def test_after_too_many_a_code_that_exists_is_not_told_from_one_that_does_not(
    client: TestClient, priced: Mill, path: str
) -> None:
    for n in range(5):
        give(client, path, f"GUESS-{n}")

    told = [give(client, path, code) for code in ("TEN", "ten ", "GUESS")]

    assert {(each.status_code, each.json()["detail"]) for each in told} == {(429, guesses.TOO_MANY)}


@pytest.mark.parametrize("path", PATHS)
def test_orders_without_a_code_are_not_slowed_down(
    client: TestClient, priced: Mill, path: str
) -> None:
    for n in range(5):
        give(client, path, f"GUESS-{n}")

    told = [give(client, path, *codes).status_code for codes in ([], [" "])]

    assert all(status < 300 for status in told)


def test_another_key_has_guesses_of_its_own(
    client: TestClient, as_: Callable[..., TestClient], priced: Mill
) -> None:
    for n in range(5):
        give(client, "/v1/quotes", f"GUESS-{n}")

    assert give(as_("shop"), "/v1/quotes", "GUESS").status_code == 409


def test_beside_agreed_prices_there_is_nothing_to_guess(client: TestClient, priced: Mill) -> None:
    with priced.database.transaction() as tx:
        sources.put(tx, "shop", Policy(gateway="sandbox", price_policy="as_sold"))
    lines = [{"sku": "MUG-01", "quantity": 1, "unit_price": "10.00"}]

    told = [
        client.post("/v1/orders", json=an_order(coupons=[f"G-{n}"]) | {"lines": lines}).status_code
        for n in range(5)
    ]

    assert told == [202] * 5


@pytest.mark.parametrize("coupons", ["TEN", 5, [5], [None, {}], {"a": 1}])
def test_what_is_no_list_of_codes_is_told_as_ever(
    client: TestClient, priced: Mill, coupons: Any
) -> None:
    answer = client.post("/v1/orders", json=an_order() | {"coupons": coupons})

    assert answer.status_code == 422
