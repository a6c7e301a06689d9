"""announce wakes workers for what is due and unclaimed: enough of them, and never a storm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.engine.claim import claim
from pipeline.payments.gateway import Answer, Call, Unavailable
from pipeline.payments.sandbox import SandboxGateway
from pipeline.storage import queues
from scheduler.announce import MOST_WAKE_UPS, announce
from tests.support import Mill

MakeMill = Callable[..., Mill]


class Broker:
    """Counts the wake-ups on their way; nobody fetches them."""

    def __init__(self, **waiting: int) -> None:
        self.on_their_way = Counter(waiting)

    def announce(self, step: str, dispatch_id: int) -> None:
        self.on_their_way[step] += 1

    def waiting(self, step: str) -> int:
        return self.on_their_way[step]


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.announce.GRACE", 0.0)


def announced(shop: Mill, broker: Broker) -> dict[str, int]:
    app: Any = SimpleNamespace(database=shop.database)
    return announce(app, broker)


def accept(shop: Mill, n: int) -> None:
    for _ in range(n):
        shop.accept()


@pytest.mark.parametrize(
    ("due", "on_their_way", "sent"),
    [(0, 0, 0), (1, 0, 1), (3, 0, 3), (10, 0, 4), (10, 3, 1), (10, 4, 0), (10, 9, 0), (1, 1, 0)],
)
def test_wake_ups_are_topped_up_to_what_is_due_and_to_four_at_most(
    mill: MakeMill, due: int, on_their_way: int, sent: int
) -> None:
    shop = mill()
    accept(shop, due)

    found = announced(shop, Broker(validate=on_their_way))

    assert found == ({"validate": sent} if sent else {})


def test_asked_again_and_again_it_sends_no_more(mill: MakeMill) -> None:
    shop = mill()
    accept(shop, 10)
    broker = Broker()

    for _ in range(5):
        announced(shop, broker)

    assert broker.on_their_way == {"validate": MOST_WAKE_UPS}


def test_each_step_has_its_own_wake_ups(mill: MakeMill) -> None:
    shop = mill(serves=[]).stocked()
    accept(shop, 1)
    shop.engine.work("validate")
    accept(shop, 2)

    assert announced(shop, Broker()) == {"validate": 2, "price": 1}


def test_what_somebody_works_on_is_not_announced_until_his_lease_runs_out(mill: MakeMill) -> None:
    shop = mill()
    accept(shop, 1)
    with shop.database.transaction() as tx:
        claim(tx, "validate", 500, 15.0)

    before = announced(shop, Broker())
    shop.expire_leases()

    assert (before, announced(shop, Broker())) == ({}, {"validate": 1})


def test_a_paused_step_is_not_announced(mill: MakeMill) -> None:
    shop = mill()
    accept(shop, 1)
    with shop.database.transaction() as tx:
        queues.pause(tx, "validate", "ada")

    assert announced(shop, Broker()) == {}


def test_what_is_not_due_yet_is_not_announced(mill: MakeMill) -> None:
    class Away(SandboxGateway):
        def perform(self, call: Call) -> Answer:
            return Unavailable("away", retry_after=200)

    shop = mill(gateway=Away(None)).stocked()
    accept(shop, 1)
    shop.turn(impatient=False)

    before = announced(shop, Broker())
    shop.make_due()

    assert (before, announced(shop, Broker())) == ({}, {"pay": 1})


def test_an_order_just_accepted_is_left_to_its_own_message(
    mill: MakeMill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.announce.GRACE", 60.0)
    shop = mill()
    accept(shop, 1)

    assert announced(shop, Broker()) == {}
