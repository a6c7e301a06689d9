"""Who may do what in the console: each route has a rule here, and all that isn't allowed is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support import MUG, Mill
from tests.web.console.conftest import Browser, held
from web.console import live
from web.console.app import PAGES

ANYBODY = "anybody"
RULES = {
    ANYBODY: {"GET /sign-in", "POST /sign-in"},
    "viewer": {
        "GET /", "GET /held", "GET /refusals", "GET /workers", "GET /live", "GET /orders", "GET /search",
        "GET /orders/{order_id}", "GET /queues", "GET /jobs", "GET /jobs/{name}",
        "GET /jobs/{name}/runs/{run_id}", "GET /stock", "GET /stock/sku", "GET /sources",
        "GET /sources/{name}", "GET /webhooks/{endpoint_id}",
        "GET /webhooks/{endpoint_id}/deliveries/{delivery_id}", "GET /audit", "GET /me", "POST /sign-out",
        "POST /sign-out-everywhere",
    },
    "operator": {
        "GET /bulk/requeue", "POST /bulk/requeue", "GET /bulk/cancel", "POST /bulk/cancel",
        "GET /bulk/decide", "POST /bulk/decide",
        "GET /orders/{order_id}/decide", "POST /orders/{order_id}/decide",
        "GET /orders/{order_id}/requeue", "POST /orders/{order_id}/requeue",
        "GET /orders/{order_id}/cancel", "POST /orders/{order_id}/cancel",
        "GET /orders/{order_id}/refund", "POST /orders/{order_id}/refund",
        "GET /orders/{order_id}/capture", "POST /orders/{order_id}/capture",
        "GET /orders/{order_id}/fulfil", "POST /orders/{order_id}/fulfil",
        "GET /orders/{order_id}/return", "POST /orders/{order_id}/return",
        "GET /queues/{step}/pause", "POST /queues/{step}/pause",
        "GET /queues/{step}/resume", "POST /queues/{step}/resume",
        "GET /jobs/{name}/run", "POST /jobs/{name}/run",
        "GET /stock/adjust", "POST /stock/adjust", "GET /stock/count", "POST /stock/count",
        "GET /webhooks/{endpoint_id}/{action}", "POST /webhooks/{endpoint_id}/{action}",
        "GET /webhooks/{endpoint_id}/deliveries/{delivery_id}/redeliver",
        "POST /webhooks/{endpoint_id}/deliveries/{delivery_id}/redeliver", "GET /log/{entry}",
    },
    "admin": {"GET /log"},
}  # fmt: skip
ROLES = list(RULES)


def routes() -> set[str]:
    """Every route that the console has."""
    return {
        f"{method} {route.path}"
        for page in PAGES
        for route in page.router.routes
        for method in route.methods
    }


def test_every_route_has_a_rule() -> None:
    assert routes() == set().union(*RULES.values())


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_the_rules_say_and_nothing_else(
    browser: Callable[..., Browser], shop: Mill, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "TURN", 0.0)  # a stream that ends at once
    [order_id] = held(shop, 1)
    signed_in = browser(None if role == ANYBODY else role)
    allowed = set().union(*(RULES[r] for r in ROLES[: ROLES.index(role) + 1]))
    values = {
        "order_id": order_id, "step": "pay", "name": "audit", "run_id": 1, "entry": 1, "sku": MUG,
        "endpoint_id": "0123456789ab", "action": "disable", "delivery_id": 1,
    }  # fmt: skip

    def is_refused_here(route: str) -> bool:
        if role == ANYBODY:
            return is_refused(signed_in, route, values, "none")
        told = is_refused(signed_in, route, values, signed_in.csrf)
        if "/sign-out" in route:
            signed_in.sign_in(role)
        return told

    refused = {route for route in routes() if is_refused_here(route)}

    assert refused == routes() - allowed


def is_refused(signed_in: Browser, route: str, values: dict[str, Any], csrf: str) -> bool:
    method, path = route.split()
    address = f"/console{path.format(**values)}"
    answer = signed_in.client.request(
        method,
        address,
        data={"csrf": csrf} if method == "POST" else None,
        headers={"Origin": "http://127.0.0.1"},
        follow_redirects=False,
    )
    # Who signs out is sent there too, and his cookie is taken from him.
    to_sign_in = answer.headers.get("location", "").startswith("/console/sign-in")
    by_role = answer.status_code == 403 and "This takes the role" in answer.text
    return (to_sign_in and "set-cookie" not in answer.headers) or by_role


def test_a_viewer_changes_nothing(browser: Callable[..., Browser], shop: Mill) -> None:
    [order_id] = held(shop, 1)
    viewer = browser("viewer")

    answer = viewer.post(f"/orders/{order_id}/requeue", csrf=viewer.csrf, version="2")

    assert answer.status_code == 403
    assert "the role operator" in answer.text
    assert shop.status(order_id) == "on_hold"


def test_operators_read_their_own_entries_of_the_log_only(
    browser: Callable[..., Browser], shop: Mill
) -> None:
    grace, other = browser("operator", "grace"), browser("operator", "other")
    grace.do("/queues/pay/pause")
    [entry] = shop.query("SELECT id FROM operators_log WHERE action = 'queue.pause'")

    answers = [each.get(f"/log/{entry.id}").status_code for each in (grace, other)]

    assert answers == [200, 404]
