"""Many processes want the same units: none is sold twice, and no deadlock reaches an order."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from typing import Any

from pipeline.audit.audit import audit
from pipeline.engine.engine import Engine, Limits
from pipeline.engine.leases import Leases
from pipeline.source import Policy
from pipeline.stages.reserve import Reserve, UndoReserve
from pipeline.storage import catalogue, stock
from pipeline.storage.database import Database
from pipeline.storage.stock import Movement
from tests.inventory.test_coupon_race import Nobody, scatter
from tests.support import MUG, TEE, Mill, an_order


def work(url: str, starts_at: float, batch: int) -> None:
    """What a process of its own does: reserve until nothing is left to be reserved."""
    database = Database(url)
    steps: dict[str, Any] = {"reserve": Reserve(), "undo_reserve": UndoReserve()}
    limits = Limits(batch=batch, lease_seconds=60.0)
    engine = Engine(database, steps, Nobody(), Leases(database, 60.0), limits, serves=[])
    time.sleep(max(0.0, starts_at - time.monotonic()))
    while engine.work("reserve"):
        pass
    database.close()


def race(shop: Mill, processes: int, batch: int) -> None:
    url = shop.database.url.render_as_string(hide_password=False)
    fork = multiprocessing.get_context("fork")
    starts_at = time.monotonic() + 0.5
    all_of_them = [
        fork.Process(target=work, args=(url, starts_at, batch)) for _ in range(processes)
    ]
    for process in all_of_them:
        process.start()
    for process in all_of_them:
        process.join(90)
    assert [process.exitcode for process in all_of_them] == [0] * processes


def ends(shop: Mill) -> Counter[str]:
    return Counter({r.status: r.n for r in shop.query(
        "SELECT status, count(*) AS n FROM orders GROUP BY status")})  # fmt: skip


def to_reserve(shop: Mill, orders: list[dict[str, Any]]) -> None:
    shop.intake.accept_all(shop.source, orders)
    for step in ("validate", "price"):
        while shop.engine.work(step):
            pass


POLICY = Policy(chain="reserve_first", email=False)


def test_of_500_who_want_the_last_unit_one_has_it(database: Database) -> None:
    shop = Mill(database, policy=POLICY, serves=[]).stocked(units=1)
    to_reserve(shop, [an_order(lines=[(MUG, 1)]) for _ in range(500)])
    scatter(shop, "reserve", 5)

    race(shop, processes=8, batch=5)

    assert ends(shop) == {"reserved": 1, "rejected": 499}
    levels = shop.query("SELECT on_hand, reserved FROM stock_levels WHERE sku = :sku", sku=MUG)
    assert [tuple(level) for level in levels] == [(1, 1)]
    assert [finding.what for finding in audit(database, shop.gateways).findings] == []


def test_orders_that_want_50_skus_in_opposite_order_all_have_them(
    postgres_database: Database,
) -> None:
    shop = Mill(postgres_database, policy=POLICY, serves=[]).stocked()
    skus = [f"SKU-{n:02}" for n in range(50)]
    with postgres_database.transaction() as tx:
        goods = [catalogue.ProductIn(sku, sku, True, False, {"EUR": 100}) for sku in skus]
        catalogue.put(tx, goods)
        stock.post(tx, [Movement(sku, "main", "receipt", 160) for sku in skus], "test")
    lines = [(sku, 1) for sku in skus]
    to_reserve(shop, [an_order(lines=lines[:: 1 if n % 2 else -1]) for n in range(160)])
    scatter(shop, "reserve", 1)

    race(shop, processes=16, batch=1)

    assert ends(shop) == {"reserved": 160}
    assert shop.query("SELECT 1 FROM events WHERE kind IN ('held', 'retried')") == []
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert [r.deadlocks for r in shop.query(deadlocks)] == [0]
    assert [finding.what for finding in audit(shop.database, shop.gateways).findings] == []


def held_and_lacked(shop: Mill) -> tuple[Counter[str], Counter[str]]:
    """Units that orders hold, and those that waiting ones lack, by SKU."""
    held = shop.query("SELECT sku, sum(quantity) AS n FROM reservations GROUP BY sku")
    lacked = shop.query("SELECT sku, sum(units) AS n FROM backorders GROUP BY sku")
    return Counter({r.sku: int(r.n) for r in held}), Counter({r.sku: int(r.n) for r in lacked})


def findings(shop: Mill) -> list[str]:
    return [finding.what for finding in audit(shop.database, shop.gateways).findings]


def test_orders_that_find_a_part_hold_it_and_no_unit_is_held_twice(database: Database) -> None:
    shop = Mill(database, policy=POLICY, serves=[]).stocked(units=0, backorder=True)
    shop.receive(MUG, 50)
    shop.receive(TEE, 30)
    to_reserve(shop, [an_order(lines=[(MUG, 1), (TEE, 1)]) for _ in range(120)])
    scatter(shop, "reserve", 5)

    race(shop, processes=8, batch=5)

    assert ends(shop) == {"reserved": 30, "backordered": 90}
    assert held_and_lacked(shop) == ({MUG: 50, TEE: 30}, {MUG: 70, TEE: 90})
    assert findings(shop) == []
