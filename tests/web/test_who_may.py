"""Who may call what: every route of the app has a rule here, and every scope, whoever's, is tried on it.

A route that has no rule fails the test: add one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from httpx import Response
from starlette.testclient import TestClient

from pipeline import access
from pipeline.access import OF_OPERATORS, OF_SOURCES, Scope
from tests.support import Mill
from tests.web.conftest import MakeKey
from web.api import examples

As = Callable[..., TestClient]


@dataclass(frozen=True)
class Rule:
    """Which scope a route wants (None: no key at all), and whether of sources' or operators' keys."""

    scope: Scope | None
    sources: bool = True
    operators: bool = True


_READ, _OPERATE = Rule(Scope.ORDERS_READ), Rule(Scope.OPERATE)
_SHOP = Rule(Scope.OPERATE, sources=False)
_HOOKS = Rule(Scope.WEBHOOKS)
RULES = {
    "POST /v1/orders": Rule(Scope.ORDERS_WRITE, operators=False),
    "POST /v1/orders/batch": Rule(Scope.ORDERS_WRITE, operators=False),
    "POST /v1/quotes": Rule(Scope.QUOTES, operators=False),
    "GET /v1/orders": _READ,
    "GET /v1/orders/{order_id}": _READ,
    "GET /v1/orders/{order_id}/events": _READ,
    "GET /v1/orders/{order_id}/stock": _READ,
    "GET /v1/events": _READ,
    "POST /v1/orders/{order_id}/cancel": _OPERATE,
    "POST /v1/orders/{order_id}/requeue": _OPERATE,
    "POST /v1/orders/{order_id}/decisions": _OPERATE,
    "POST /v1/orders/decisions": _OPERATE,
    "POST /v1/orders/{order_id}/refunds": _OPERATE,
    "GET /v1/orders/{order_id}/fulfilments": _READ,
    "POST /v1/orders/{order_id}/fulfilments": _OPERATE,
    "GET /v1/orders/{order_id}/returns": _READ,
    "POST /v1/orders/{order_id}/returns": _OPERATE,
    "GET /v1/products": Rule(Scope.CATALOGUE_READ),
    "GET /v1/products/{sku}": Rule(Scope.CATALOGUE_READ),
    "PUT /v1/products/{sku}": Rule(Scope.CATALOGUE_WRITE, sources=False),
    "GET /v1/stock": Rule(Scope.STOCK_READ),
    "GET /v1/stock/movements": Rule(Scope.STOCK_READ, sources=False),
    "POST /v1/stock/adjustments": Rule(Scope.STOCK_WRITE, sources=False),
    "POST /v1/stock/counts": Rule(Scope.STOCK_WRITE, sources=False),
    "GET /v1/webhooks": _HOOKS,
    "POST /v1/webhooks": Rule(Scope.WEBHOOKS, operators=False),
    "GET /v1/webhooks/{endpoint_id}": _HOOKS,
    "POST /v1/webhooks/{endpoint_id}/rotate": _HOOKS,
    "POST /v1/webhooks/{endpoint_id}/disable": _HOOKS,
    "POST /v1/webhooks/{endpoint_id}/enable": _HOOKS,
    "POST /v1/webhooks/{endpoint_id}/test": _HOOKS,
    "GET /v1/webhooks/{endpoint_id}/deliveries": _HOOKS,
    "GET /v1/webhooks/{endpoint_id}/deliveries/{delivery_id}": _HOOKS,
    "POST /v1/webhooks/{endpoint_id}/deliveries/{delivery_id}/redeliver": _HOOKS,
    "POST /v1/webhooks/{endpoint_id}/redeliver": _HOOKS,
    "GET /v1/queues": _SHOP,
    "POST /v1/queues/{name}/pause": _SHOP,
    "POST /v1/queues/{name}/resume": _SHOP,
    "GET /v1/jobs": _SHOP,
    "POST /v1/jobs/{name}/run": _SHOP,
    "GET /v1/jobs/runs/{run}": _SHOP,
    "POST /v1/gateways/{name}/events": Rule(None),
    "GET /metrics": Rule(Scope.METRICS, sources=False),
    "GET /healthz": Rule(None),
    "GET /readyz": Rule(None),
    "GET /openapi.json": Rule(None),
}

#: A good body, of calls that don't take an empty one.
BODIES = {
    "POST /v1/orders/{order_id}/decisions": examples.DECISION,
    "POST /v1/orders/{order_id}/fulfilments": examples.FULFILMENT,
    "POST /v1/orders/{order_id}/returns": examples.RETURN,
}

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def calls(app: FastAPI) -> Iterator[str]:
    """Every call that the app answers, as METHOD /path; the console has a table of its own."""
    for route in iter_route_contexts(app.routes):
        if route.path_format.startswith("/console"):
            continue
        for method in (route.methods or set()) - {"HEAD", "OPTIONS"}:
            yield f"{method} {route.path_format}"


def call(
    client: TestClient, name: str, order_id: int = 1, endpoint_id: str = "0123456789ab"
) -> Response:
    method, _, path = name.partition(" ")
    path = path.format(
        order_id=order_id, sku="MUG-01", name="validate", run=1, endpoint_id=endpoint_id,
        delivery_id=1,
    )  # fmt: skip
    headers = {"Idempotency-Key": "k"}
    if name == "POST /v1/orders/batch":
        headers["Content-Type"] = "application/x-ndjson"
        return client.request(method, path, headers=headers, content=b"")
    return client.request(
        method, path, headers=headers, json=None if method == "GET" else BODIES.get(name, {})
    )


def is_let_in(answer: Response) -> bool:
    """Whether it was not who asked that was the matter."""
    assert answer.status_code < 500, answer.text
    return answer.status_code not in (401, 403)


def test_every_route_has_a_rule(app: FastAPI) -> None:
    assert sorted(calls(app)) == sorted(RULES)


def test_the_description_names_the_scope_that_is_wanted(app: FastAPI) -> None:
    described = {
        f"{method.upper()} {path}": told.get("security")
        for path, operations in app.openapi()["paths"].items()
        for method, told in operations.items()
    }

    assert described == {
        name: rule.scope and [{"key": [rule.scope.value]}]
        for name, rule in RULES.items()
        if name != "GET /openapi.json"
    }


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("whose", ["shop", None], ids=["source", "operator"])
def test_a_key_is_let_in_by_its_scope_and_no_other(
    as_: As, shop: Mill, name: str, whose: str | None
) -> None:
    shop.accept()
    rule = RULES[name]
    allowed = OF_SOURCES if whose else OF_OPERATORS

    let_in = {scope for scope in allowed if is_let_in(call(as_(whose, scope), name))}

    if rule.scope is None:
        assert let_in == allowed
    else:
        is_for = rule.sources if whose else rule.operators
        assert let_in == ({rule.scope} if is_for else set())


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.scope])
def test_nobody_is_let_in_without_a_key(as_: As, shop: Mill, name: str) -> None:
    nobody = as_("shop")
    shop.accept()
    good = nobody.headers.pop("authorization")
    wrong = [
        None,
        "Bearer x",
        "Basic eDp5",
        good[:-1],
        good[:-1] + ("1" if good[-1] == "0" else "0"),
    ]

    for header in wrong:
        nobody.headers.pop("authorization", None)
        if header is not None:
            nobody.headers["authorization"] = header
        answer = call(nobody, name)

        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["type"].endswith("/unauthenticated")


@pytest.mark.parametrize("name", [name for name in RULES if "{order_id}" in name])
def test_to_another_source_an_order_is_not_there(as_: As, shop: Mill, name: str) -> None:
    order_id = shop.accept()
    shop.turn()
    before = shop.row(order_id)

    theirs, nowhere = (call(as_("rival"), name, i) for i in (order_id, order_id + 1))

    assert (theirs.status_code, nowhere.status_code) == (404, 404)
    assert theirs.json() == {**nowhere.json(), "detail": f"there is no order {order_id}"}
    assert shop.row(order_id) == before


@pytest.mark.parametrize("name", [name for name in RULES if "{endpoint_id}" in name])
def test_to_another_source_an_endpoint_is_not_there(as_: As, shop: Mill, name: str) -> None:
    hook = {"url": "https://shop.example/hook"}
    made = as_("shop").post("/v1/webhooks", json=hook, headers={"Idempotency-Key": "k"}).json()
    its = made["id"]
    owner = as_("shop")
    owner.post(f"/v1/webhooks/{its}/test")  # delivery 1
    before = owner.get(f"/v1/webhooks/{its}").json()

    theirs = call(as_("rival"), name, endpoint_id=its)
    nowhere = call(as_("rival"), name)

    assert (theirs.status_code, nowhere.status_code) == (404, 404)
    assert theirs.json() == {**nowhere.json(), "detail": f"there is no webhook endpoint {its}"}
    assert owner.get(f"/v1/webhooks/{its}").json() == before
    assert as_("rival").get("/v1/webhooks").json() == []


@pytest.mark.parametrize("name", ["GET /v1/orders", "GET /v1/events"])
def test_lists_hold_nothing_of_another_source(as_: As, shop: Mill, name: str) -> None:
    shop.accept()

    assert call(as_("rival"), name).json()["items"] == []
    assert len(call(as_("shop"), name).json()["items"]) == 1
    assert len(call(as_(None), name).json()["items"]) == 1


def test_of_no_scope_does_a_source_get_what_is_the_shops(shop: Mill, make_key: MakeKey) -> None:
    for scope in set(Scope) - OF_SOURCES:
        with pytest.raises(access.InvalidInput, match="expected of a source's key"):
            make_key("shop", scope)


def test_a_foreign_orders_etag_is_no_way_in(as_: As, shop: Mill) -> None:
    order_id = shop.accept()

    answer = as_("rival").get(f"/v1/orders/{order_id}", headers={"If-None-Match": "*"})

    assert answer.status_code == 404
