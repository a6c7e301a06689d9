"""What would now wait or be refused is known before the first order does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text

from pipeline import forecast as forecasts
from pipeline.forecast import Fate, forecast
from pipeline.source import Policy
from pipeline.storage import erasure, sources
from pipeline.storage.database import Database
from pipeline.storage.tables import metadata
from tests.support import MUG, TEE, Mill, an_order

MakeMill = Callable[..., Mill]
DAY = 86_400.0


@pytest.fixture
def shop(mill: MakeMill) -> Mill:
    return mill().stocked()


def fates(shop: Mill, seconds: float = DAY) -> dict[Fate, list[int]]:
    return {each.fate: each.examples for each in forecast(shop.database, seconds).findings}


def set_policy(shop: Mill, policy: Policy) -> None:
    with shop.database.transaction() as tx:
        sources.put(tx, "shop", policy)


def written(database: Database) -> dict[str, int]:
    with database.snapshot() as tx:
        return {
            table.name: tx.execute(text(f"SELECT count(*) FROM {table.name}")).scalar_one()
            for table in metadata.sorted_tables
        }


def test_orders_that_would_go_their_way_again_are_no_finding(shop: Mill) -> None:
    shop.accept()
    shop.turn()

    found = forecast(shop.database, DAY)

    assert (found.looked_at, found.unknown, found.findings) == (1, 0, [])


def test_an_order_that_a_policy_would_hold_now_is_found_with_its_reason(shop: Mill) -> None:
    order = shop.accept()
    shop.turn()
    set_policy(shop, Policy(hold_over={"EUR": 1}))

    assert fates(shop) == {Fate("on_hold", "amount_over_limit"): [order]}


def test_an_order_that_intake_would_refuse_now_names_the_field(mill: MakeMill) -> None:
    shop = mill(policy=Policy(price_policy="as_sold")).stocked()
    sold = an_order() | {"lines": [{"sku": MUG, "quantity": 1, "unit_price": "7.00"}]}
    order = shop.send(sold).order_id
    shop.turn()
    set_policy(shop, Policy(price_policy="catalogue"))

    ((fate, orders),) = fates(shop).items()

    assert (fate.end, orders) == ("refused", [order])
    assert fate.reason.startswith("lines.0.unit_price: expected no price")


def test_an_order_that_could_not_be_priced_now_is_rejected(shop: Mill) -> None:
    order = shop.accept(lines=[(TEE, 1)])
    shop.turn()
    with shop.database.transaction() as tx:
        tx.execute(text("DELETE FROM prices WHERE sku = :sku"), {"sku": TEE})

    assert fates(shop) == {Fate("rejected", "no_price"): [order]}


def test_an_order_that_is_held_for_that_already_is_no_news(mill: MakeMill) -> None:
    shop = mill(policy=Policy(hold_over={"EUR": 1})).stocked()
    order = shop.accept()
    shop.turn()
    assert shop.status(order) == "on_hold"

    assert fates(shop) == {}


def test_a_coupon_that_the_order_itself_used_up_does_not_stand_in_its_way(
    mill: MakeMill,
) -> None:
    rules = {
        "promotions": [
            {"id": "ten", "name": "Ten", "target": "order",
             "effect": {"type": "percent", "percent": "10"}}
        ],
        "coupons": [{"code": "TEN", "promotions": ["ten"], "limit": 1}],
    }  # fmt: skip
    shop = mill(rules=rules).stocked()
    order = shop.accept(coupons=["TEN"])
    shop.turn()
    assert shop.status(order) == "confirmed"

    assert fates(shop) == {}


def test_only_orders_accepted_in_that_time_are_looked_at(shop: Mill) -> None:
    old, _ = shop.accept(), shop.accept()
    with shop.database.transaction() as tx:
        at = "2026-01-01 00:00:00.000000"
        tx.execute(
            text("UPDATE orders SET accepted_at = :at WHERE id = :id"), {"at": at, "id": old}
        )

    assert forecast(shop.database, DAY).looked_at == 1


def test_an_erased_order_is_counted_as_unknown(shop: Mill) -> None:
    order = shop.accept()
    shop.turn()
    with shop.database.transaction() as tx:
        erasure.erase(tx, [order], "test")

    found = forecast(shop.database, DAY)

    assert (found.looked_at, found.unknown, found.findings) == (1, 1, [])


def test_all_orders_are_looked_at_once_over_many_pages(
    shop: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecasts, "PAGE", 2)
    orders = [shop.accept() for _ in range(5)]
    set_policy(shop, Policy(hold_over={"EUR": 1}))
    seen: list[int] = []

    found = forecast(shop.database, DAY, seen.append)

    assert seen == [2, 4, 5]
    assert [(each.orders, each.examples) for each in found.findings] == [(5, orders[::-1])]


def test_looking_changes_nothing(shop: Mill) -> None:
    shop.accept()
    shop.turn()
    set_policy(shop, Policy(hold_over={"EUR": 1}))
    before = written(shop.database)

    forecast(shop.database, DAY)

    assert written(shop.database) == before


def test_an_order_as_sold_without_a_price_would_be_refused_now(mill: MakeMill) -> None:
    shop = mill(policy=Policy(price_policy="as_sold", missing_price="catalogue")).stocked()
    order = shop.send(an_order()).order_id
    shop.turn()
    set_policy(shop, Policy(price_policy="as_sold"))

    ((fate, orders),) = fates(shop).items()

    assert (fate.end, orders) == ("refused", [order])
    assert fate.reason.startswith("lines.unit_price: expected the price it was sold at")
