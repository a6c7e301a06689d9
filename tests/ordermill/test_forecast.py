"""`ordermill check --since`: what would now wait or be refused, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.ordermill.test_orders import PRODUCTS, an_order, take_in, work

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def shop(run: Run) -> Run:
    """A home where two orders to Germany are priced."""
    assert run("sources", "set", "web")[0] == 0
    assert run("products", "import", PRODUCTS)[0] == 0
    assert run("stock", "adjust", "MUG-01", 10, "--reason", "found")[0] == 0
    take_in(run, [an_order(1, "DE"), an_order(2, "DE")])
    work("validate")
    work("price")
    return run


def test_where_every_order_would_go_its_way_it_says_so(shop: Run) -> None:
    code, said = shop("check", "--since", "30d")

    assert code == 0
    assert "2 orders of the last 30d were looked at: 0 would now wait" in said


def test_orders_that_would_wait_are_counted_with_their_reason(shop: Run) -> None:
    assert shop("sources", "set", "web", "--set", 'hold_over={"EUR": 1}')[0] == 0

    code, said = shop("check", "--since", "1d")

    assert code == 1
    assert "would wait" in said
    assert "amount_over_limit" in said


def test_a_program_reads_the_same(shop: Run) -> None:
    assert shop("sources", "set", "web", "--set", 'hold_over={"EUR": 1}')[0] == 0

    code, said = shop("check", "--since", "1d", "--json")

    assert code == 1
    assert json.loads(said) == {
        "looked_at": 2,
        "unknown": 0,
        "findings": [
            {"end": "on_hold", "reason": "amount_over_limit", "orders": 2, "sources": ["web"],
             "examples": [2, 1]}
        ],
    }  # fmt: skip


@pytest.mark.parametrize("since", ["0d", "yesterday", ""])
def test_a_time_that_is_none_is_named(shop: Run, since: str) -> None:
    code, said = shop("check", "--since", since)

    assert code == 2
    assert "--since" in said
    assert "such as" in said
