"""Ten thousand SKUs are counted while five thousand orders, receipts and corrections flow: what was
planted is found, exactly, and nothing else.

The oracle is no ledger: what a count ought to say is on_hand, read at the count's instant.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.audit.audit import audit
from pipeline.source import Policy
from pipeline.storage import catalogue, clock, stock
from pipeline.storage.database import Database
from pipeline.storage.stock import Movement
from tests.stock_reconciliation.support import run, written
from tests.support import Mill, an_order

SKUS = [f"SKU-{n:05}" for n in range(10_000)]
ORDERS, UNITS, PAGES = 5_000, 1_000, 10
#: All that flows moves in tens, all drift is less: none is taken for the other.
STEP = 10


@pytest.fixture
def shop(database: Database) -> Mill:
    made = Mill(database, policy=Policy(email=False))
    for start in range(0, len(SKUS), 2_000):
        skus = SKUS[start : start + 2_000]
        with database.transaction() as tx:
            goods = [catalogue.ProductIn(s, s, True, False, {"EUR": 100}) for s in skus]
            catalogue.put(tx, goods)
            stock.post(tx, [Movement(s, "main", "receipt", UNITS) for s in skus], "test")
    return made


class Trade:
    """What flows while it is counted: orders through the engine by two threads, movements by one."""

    def __init__(self, shop: Mill) -> None:
        self.shop = shop
        self.over = threading.Event()
        self.moved = 0
        self.failures: list[Exception] = []

    def work(self) -> None:
        while not self.over.is_set():
            if not self.shop.engine.work("validate"):
                time.sleep(0.01)

    def order(self) -> None:
        chosen = random.Random(1)
        for start in range(0, ORDERS, 100):
            orders = [
                an_order(external_id=f"o-{n}", lines=[(s, 2) for s in chosen.sample(SKUS, 3)])
                for n in range(start, start + 100)
            ]
            self.shop.intake.accept_all(self.shop.source, orders)
            time.sleep(0.05)

    def move(self) -> None:
        chosen = random.Random(2)
        while not self.over.is_set():
            moves = [
                Movement(s, "main", *chosen.choice([("receipt", STEP), ("adjustment", -STEP)]))
                for s in chosen.sample(SKUS, 40)
            ]
            with self.shop.database.transaction() as tx:
                assert stock.post(tx, moves, "test") == []
            self.moved += len(moves)
            time.sleep(0.02)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        acts = [self.work, self.work, self.move, self.order]
        threads = [threading.Thread(target=self._guarded, args=(act,)) for act in acts]
        for thread in threads:
            thread.start()
        try:
            yield
            threads[-1].join()
        finally:
            self.over.set()
            for thread in threads:
                thread.join()
        assert self.failures == []

    def _guarded(self, act: object) -> None:
        try:
            act()  # type: ignore[operator]
        except Exception as failure:
            self.failures.append(failure)


def take_count(shop: Mill, skus: list[str], drift: dict[str, int], path: Path) -> dict[str, int]:
    """Count these at one instant, with what drifted; what the books ought to have said."""
    with shop.database.snapshot() as tx:
        at = clock.read(tx)
        found = tx.exec_driver_sql("SELECT sku, on_hand FROM stock_levels")
        there = {r.sku: r.on_hand for r in found}
    written(path, [(sku, "main", there[sku] + drift.get(sku, 0), at) for sku in skus])
    return {sku: there[sku] for sku in skus}


def ended(shop: Mill, status: str) -> int:
    return int(shop.query("SELECT count(*) AS n FROM orders WHERE status = :s", s=status)[0].n)


@pytest.mark.timeout(110)
def test_what_was_planted_is_reported_and_nothing_else(shop: Mill, tmp_path: Path) -> None:
    chosen = random.Random(3)
    drift = {s: chosen.choice([-4, -3, -1, 1, 2, 4]) for s in chosen.sample(SKUS, 137)}
    truth: dict[str, int] = {}
    trade = Trade(shop)

    with trade.going_on():
        totals, confirmed = [], []
        for page in range(PAGES):
            file = tmp_path / f"{page}.csv"
            truth |= take_count(shop, SKUS[page::PAGES], drift, file)
            before = trade.moved
            while trade.moved == before:  # so that it is compared with another state than it saw
                time.sleep(0.005)
            totals.append(run(shop, file))
            confirmed.append(ended(shop, "confirmed"))

    found = shop.query("SELECT * FROM stock_differences")
    assert {(d.kind, d.sku, d.location, d.expected, d.found) for d in found} == {
        ("count", sku, "main", truth[sku], truth[sku] + off) for sku, off in drift.items()
    }
    assert (sum(r.new for r in totals), sum(r.counts for r in totals)) == (137, 10_000)
    assert len(set(confirmed)) > 2  # orders flowed while it was compared
    shop.turn()
    assert ended(shop, "confirmed") == ORDERS
    assert [finding.what for finding in audit(shop.database, shop.gateways).findings] == []
