"""A real server, and between it and the client a network that loses, cuts, refuses and delays: whatever
is asked for is done, and done once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest
from ordermill_client import BatchInterrupted, NoAnswer, Retries, Unavailable

from client.tests.conftest import MakeClient
from client.tests.unreliable import BAD, unreliable
from tests.support import Mill, an_order
from tests.web.conftest import MakeKey

#: Seconds until the client hangs up; `slow` answers come when it has.
SHORT = 0.25


def kept(shop: Mill) -> Counter[str]:
    return Counter(name for (name,) in shop.query("SELECT external_id FROM orders"))


def test_orders_are_placed_once_each(
    url: str, make_client: MakeClient, make_key: MakeKey, shop: Mill
) -> None:
    orders = [an_order() for _ in range(66)]
    with unreliable(url) as proxy:
        client = make_client(proxy.url, make_key(), timeout=SHORT)

        placed = [client.place(order) for order in orders]

    assert kept(shop) == Counter(order["external_id"] for order in orders)
    assert [p.external_id for p in placed] == [order["external_id"] for order in orders]
    ids = dict(shop.query("SELECT external_id, id FROM orders"))
    assert all(p.id == ids[p.external_id] for p in placed)
    # Those whose first answer was lost are told to be known.
    assert Counter(p.verdict for p in placed)["duplicate"] > 6
    assert set(proxy.happened) == set(BAD)
    assert proxy.happened.total() > 132


def test_thousands_in_a_batch_have_a_verdict_each_and_are_there_once(
    url: str, make_client: MakeClient, make_key: MakeKey, shop: Mill
) -> None:
    orders = [an_order() for _ in range(2_500)]
    with unreliable(url, ("cut within", "slow", "none", "cut after", "away after")) as proxy:
        client = make_client(proxy.url, make_key(), timeout=3.0)

        verdicts = list(client.place_all(orders))

    assert sorted(v.line for v in verdicts) == list(range(1, 2_501))
    assert all(v.external_id == orders[v.line - 1]["external_id"] for v in verdicts)
    assert Counter(v.verdict for v in verdicts).keys() == {"accepted", "duplicate"}
    assert kept(shop) == Counter(order["external_id"] for order in orders)


def test_a_batch_that_was_interrupted_is_resumed_with_what_has_no_verdict(
    url: str, make_client: MakeClient, make_key: MakeKey, shop: Mill
) -> None:
    every = [an_order() for _ in range(3_000)]
    orders, told = iter(every), list[str]()

    def send(client: Any, some: Iterator[Any]) -> None:
        for verdict in client.place_all(some):
            told.append(verdict.external_id)
            if len(told) == 1_500:
                proxy.only = "away for long"

    with unreliable(url, ("none",)) as proxy:
        client = make_client(proxy.url, make_key())

        with pytest.raises(BatchInterrupted) as cut:
            send(client, orders)
        proxy.only = None
        send(client, chain((order for _, order in cut.value.unanswered), orders))

    assert isinstance(cut.value.__cause__, Unavailable)
    assert len(cut.value.unanswered) == 1_000
    assert told == [order["external_id"] for order in every]
    assert kept(shop) == Counter(told)


def test_a_refund_and_an_adjustment_are_done_once(
    url: str, make_client: MakeClient, make_key: MakeKey, shop: Mill
) -> None:
    order_id = shop.accept(lines=[("MUG-01", 10)])
    shop.turn()
    with unreliable(url, ("cut after", "away after", "slow", "cut within", "none")) as proxy:
        source = make_client(proxy.url, make_key(), timeout=SHORT)
        operator = make_client(proxy.url, make_key(None), timeout=SHORT)

        refunds = [source.refund(order_id, amount="1.00") for _ in range(3)]
        for _ in range(3):
            operator.adjust_stock("TEE-01", -1, "broken")

    assert len({refund.id for refund in refunds}) == 3
    refunded = "SELECT amount FROM payment_operations WHERE kind = 'refund' AND state = 'requested'"
    assert shop.query(refunded) == [(100,)] * 3
    assert shop.query("SELECT on_hand FROM stock_levels WHERE sku = 'TEE-01'") == [(97,)]


def test_where_nobody_answers_the_time_limit_is_kept(
    url: str, make_client: MakeClient, make_key: MakeKey, shop: Mill
) -> None:
    with unreliable(url, ("cut before",)) as proxy:
        client = make_client(proxy.url, make_key(), retries=Retries(within=0.3, first=0.01))

        with pytest.raises(NoAnswer, match="POST /v1/orders: "):
            client.place(an_order())

    assert proxy.happened["cut before"] > 2
    assert kept(shop) == Counter()
