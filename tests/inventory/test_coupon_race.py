"""Ten thousand orders want a coupon that a hundred may use, from eight processes at once."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import text

from pipeline.audit.audit import audit
from pipeline.engine.engine import Engine, Limits
from pipeline.engine.leases import Leases
from pipeline.operations import cancel
from pipeline.source import Policy
from pipeline.stages.reserve import Reserve, UndoReserve
from pipeline.storage import dispatches
from pipeline.storage.database import Database
from pipeline.storage.dispatches import NewDispatch
from tests.support import MUG, Mill, an_order

PROCESSES = 8
ORDERS = 10_000
LATECOMERS = 200
LIMIT = 100
CUSTOMERS = 2_000
#: Orders in a dispatch, and so in a transaction: few, so that many processes win some each.
BATCH = 20

RULES = {
    "promotions": [{"id": "ten", "name": "Ten off", "effect": {"type": "percent", "percent": 10}}],
    "coupons": [
        {"code": "TEN", "promotions": ["ten"], "limit": LIMIT},
        {"code": "ONCE", "promotions": ["ten"], "limit_per_customer": 1},
    ],
}


class Nobody:
    """Whom no hint reaches."""

    def announce(self, step: str, dispatch_id: int) -> None: ...


def work(url: str, step: str, starts_at: float) -> None:
    """What a process of its own does: take `step` until nothing is left of it."""
    database = Database(url)
    steps: dict[str, Any] = {"reserve": Reserve(), "undo_reserve": UndoReserve()}
    limits = Limits(batch=BATCH, lease_seconds=60.0)
    engine = Engine(database, steps, Nobody(), Leases(database, 60.0), limits, serves=[])
    time.sleep(max(0.0, starts_at - time.monotonic()))
    while engine.work(step):
        pass
    database.close()


def race(shop: Mill, *steps: str) -> None:
    """Take the steps from eight processes at once, and wait for the last of them."""
    url = shop.database.url.render_as_string(hide_password=False)
    fork = multiprocessing.get_context("fork")
    starts_at = time.monotonic() + 0.5
    processes = [
        fork.Process(target=work, args=(url, steps[n % len(steps)], starts_at))
        for n in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * PROCESSES


def scatter(shop: Mill, step: str, size: int, later: int = 0) -> None:
    """Deal what waits for `step` out to dispatches of `size`, the orders mixed; the last `later`
    are not due yet."""
    with shop.database.transaction() as tx:
        taken = text("DELETE FROM dispatches WHERE step = :step RETURNING order_ids")
        found = tx.execute(taken, {"step": step}).scalars()
        waiting = sorted(order_id for ids in found for order_id in json.loads(ids))
        due = len(waiting) - later
        pieces = [waiting[n : due : -(-due // size)] for n in range(-(-due // size))]
        dispatches.add(tx, [NewDispatch(step, 0, tuple(piece)) for piece in pieces])
        if later:
            dispatches.add(tx, [NewDispatch(step, 0, tuple(waiting[due:]), delay=3600.0)])


def prepare(shop: Mill, count: int, coupon: str) -> None:
    """Bring so many orders with that coupon up to the reserve stage."""
    for start in range(0, count, 500):
        some = [
            an_order(coupons=[coupon], customer={"id": str(n % CUSTOMERS)}, lines=[(MUG, 1)])
            for n in range(start, min(count, start + 500))
        ]
        shop.intake.accept_all(shop.source, some)
    for step in ("validate", "price"):
        while shop.engine.work(step):
            pass


def ends(shop: Mill) -> Counter[tuple[str, str | None]]:
    found = shop.query("SELECT status, reason, count(*) FROM orders GROUP BY 1, 2")
    return Counter({(status, reason): n for status, reason, n in found})


def holders(shop: Mill) -> set[int]:
    return {r.order_id for r in shop.query("SELECT order_id FROM coupon_redemptions")}


def used(shop: Mill) -> int:
    (row,) = shop.query("SELECT used FROM coupon_uses WHERE customer = ''")
    return int(row.used)


def reserved(shop: Mill) -> int:
    return int(shop.query("SELECT reserved FROM stock_levels WHERE sku = :sku", sku=MUG)[0][0])


def broken_rules(shop: Mill) -> list[str]:
    return [finding.what for finding in audit(shop.database, shop.gateways).findings]


def a_shop(database: Database) -> Mill:
    policy = Policy(chain="reserve_first", email=False)
    return Mill(database, policy=policy, rules=RULES, serves=[]).stocked(units=1_000_000)


def test_of_10_000_exactly_100_stand_and_undoing_gives_back_exactly_its_own(
    postgres_database: Database,
) -> None:
    shop = a_shop(postgres_database)
    prepare(shop, ORDERS + LATECOMERS, "TEN")
    scatter(shop, "reserve", BATCH, later=LATECOMERS)

    race(shop, "reserve")

    assert ends(shop) == {
        ("reserved", None): LIMIT,
        ("rejected", "coupon_exhausted"): ORDERS - LIMIT,
        ("priced", None): LATECOMERS,
    }
    winners = holders(shop)
    assert (len(winners), used(shop), reserved(shop)) == (LIMIT, LIMIT, LIMIT)

    # Thirty give back, each in a transaction of its own, while others want what becomes free.
    undone = set(sorted(winners)[:90:3])
    with shop.database.transaction() as tx:
        for order in undone:
            cancel(tx, order, "ada")
    for step in ("pay", "undo_pay"):
        while shop.engine.work(step):
            pass
    scatter(shop, "undo_reserve", 1)
    scatter(shop, "reserve", BATCH)

    race(shop, "reserve", "undo_reserve")

    took_over = holders(shop) - winners
    assert holders(shop) == (winners - undone) | took_over
    assert ends(shop)["cancelled", "cancelled"] == len(undone) == 30
    assert len(took_over) <= len(undone)
    assert used(shop) == reserved(shop) == len(holders(shop)) == LIMIT - 30 + len(took_over)
    assert broken_rules(shop) == []


def test_of_600_each_of_200_customers_has_the_one_use_they_may(
    postgres_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.CUSTOMERS", 200)
    shop = a_shop(postgres_database)
    prepare(shop, 600, "ONCE")
    scatter(shop, "reserve", BATCH)

    race(shop, "reserve")

    assert ends(shop) == {("reserved", None): 200, ("rejected", "coupon_exhausted"): 400}
    by_customer = "SELECT used, count(*) FROM coupon_uses WHERE customer <> '' GROUP BY used"
    assert [tuple(row) for row in shop.query(by_customer)] == [(1, 200)]
    assert used(shop) == 200
    assert broken_rules(shop) == []
