"""What a person does to all orders on hold that match: each is moved once, in sets, at a pace."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pipeline import bulk, operations
from pipeline.audit.audit import audit
from pipeline.source import Policy
from pipeline.storage.selection import Found, Selection, find
from tests.support import MUG, TEE, Mill, an_order

MakeMill = Callable[..., Mill]
HELD = Policy(hold_over={"EUR": 1}, hold_countries=frozenset({"FR"}))


def sought(shop: Mill, **filters: Any) -> Found:
    with shop.database.snapshot() as tx:
        return find(tx, Selection(**filters))


def move(shop: Mill, found: Found, act: str = "requeue", **options: Any) -> bulk.Tally:
    return bulk.move_all(
        shop.database, found, bulk.ACTS[act], "ada", shop.engine.announce, **options
    )


def held(shop: Mill, **changes: Any) -> int:
    order = shop.accept(**changes)
    shop.turn()
    assert shop.status(order) == "on_hold"
    return order


def many_held(shop: Mill, number: int) -> list[int]:
    receipts = shop.intake.accept_all(shop.source, [an_order() for _ in range(number)])
    shop.turn()
    return [r.order_id for r in receipts if r.order_id is not None]


def assert_sound(shop: Mill) -> None:
    assert audit(shop.database, shop.gateways).findings == []


# --- Who is meant ---------------------------------------------------------------------------------


def test_what_is_found_is_counted_by_reason_stage_and_source_with_examples(mill: MakeMill) -> None:
    shop = mill(policy=HELD).stocked()
    orders = [held(shop), held(shop), held(shop, ship_to={"country": "FR"})]

    found = sought(shop)

    told = [(g["reason"], g["stage"], g["source"], g["orders"]) for g in found.groups]
    assert told == [
        ("amount_over_limit", "price", "shop", 2),
        ("country_held", "validate", "shop", 1),
    ]
    assert [example["id"] for example in found.examples] == orders


@pytest.mark.parametrize(
    "filters",
    [
        {"reason": "country_held"},
        {"stage": "validate"},
        {"external_id": "the-one"},
        {"sku": TEE},
        {"email": "Bob@Example.com"},
        {"source": "shop", "email": "bob@example.com", "older_than": 0.0},
    ],
    ids=lambda filters: "+".join(filters),
)
def test_a_filter_finds_only_what_matches(mill: MakeMill, filters: dict[str, Any]) -> None:
    shop = mill(policy=HELD).stocked()
    held(shop)
    metadata = {"sku": TEE, "email": "bob@example.com"}  # the words, but not in their place
    held(shop, metadata=metadata)
    one = held(
        shop,
        external_id="the-one",
        customer={"email": "bob@example.com", "id": "b-1"},
        ship_to={"country": "FR"},
        lines=[(TEE, 1)],
    )

    found = sought(shop, **filters)

    assert [example["id"] for example in found.examples] == [one]
    assert found.orders == 1


@pytest.mark.parametrize("filters", [{"source": "other"}, {"older_than": 60.0}, {"sku": "%"}])
def test_a_filter_that_nothing_matches_finds_nothing(
    mill: MakeMill, filters: dict[str, Any]
) -> None:
    shop = mill(policy=HELD).stocked()
    held(shop)

    assert sought(shop, **filters).orders == 0


def test_only_orders_on_hold_are_found(mill: MakeMill) -> None:
    shop = mill(serves=[]).stocked()
    shop.accept()

    assert sought(shop, status="received").orders == 0


# --- Each once, in sets ---------------------------------------------------------------------------


def test_more_than_a_transaction_holds_are_requeued_in_dispatches_of_at_most_500(
    mill: MakeMill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MOST_ORDERS", 700)
    shop = mill(policy=HELD).stocked(units=10_000)
    orders = many_held(shop, 1_500)
    steps: list[int] = []

    tally = move(shop, sought(shop), progress=lambda done: steps.append(done.moved))

    assert (tally.moved, tally.skipped, steps) == (1_500, 0, [700, 1_400, 1_500])
    sizes = [size for (size,) in shop.query("SELECT size FROM dispatches")]
    assert (sum(sizes), max(sizes)) == (1_500, 500)
    told = shop.query("SELECT DISTINCT actor FROM events WHERE kind = 'requeued'")
    assert [tuple(r) for r in told] == [("ada",)]
    assert_sound(shop)

    shop.turn()

    assert {shop.status(o) for o in orders[::100]} == {"confirmed"}
    assert_sound(shop)


def test_more_than_500_named_by_id_make_dispatches_of_at_most_500(mill: MakeMill) -> None:
    shop = mill(policy=HELD).stocked(units=10_000)
    orders = many_held(shop, 501)

    with shop.database.transaction() as tx:
        operations.requeue(tx, orders, "ada")

    assert sorted(n for (n,) in shop.query("SELECT size FROM dispatches")) == [1, 500]


def test_an_order_that_is_held_again_at_once_is_not_moved_twice(
    mill: MakeMill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MOST_ORDERS", 2)
    shop = mill().stocked(units=10_000)
    shop.price_by({"tax": {"zones": [{"name": "fr", "country": "FR", "rates": {}}]}})
    orders = many_held(shop, 5)
    assert shop.row(orders[0]).reason == "no_tax_rate"

    tally = move(shop, sought(shop), progress=lambda _: shop.turn())

    assert (tally.moved, tally.skipped) == (5, 0)
    assert [shop.timeline(o).count("requeued") for o in orders] == [1] * 5
    assert {shop.status(o) for o in orders} == {"on_hold"}


def test_what_another_has_changed_meanwhile_is_skipped_and_counted(mill: MakeMill) -> None:
    shop = mill(policy=HELD).stocked()
    orders = many_held(shop, 4)
    found = sought(shop)
    with shop.database.transaction() as tx:
        operations.requeue(tx, [orders[0]], "bob")
        operations.cancel(tx, orders[1], "bob")

    tally = move(shop, found)

    assert (tally.moved, tally.skipped) == (2, 2)
    assert shop.timeline(orders[0]).count("requeued") == 1
    assert shop.status(orders[1]) == "cancelled"
    assert_sound(shop)


def test_what_is_held_after_the_count_was_shown_is_left_alone(mill: MakeMill) -> None:
    shop = mill(policy=HELD).stocked()
    first = held(shop)
    found = sought(shop)
    late = held(shop)

    tally = move(shop, found)

    assert tally.moved == 1
    assert (shop.status(first), shop.status(late)) == ("validated", "on_hold")


def test_one_that_breaks_off_has_moved_what_it_committed_and_the_rest_follows(
    mill: MakeMill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MOST_ORDERS", 2)
    shop = mill(policy=HELD).stocked()
    orders = many_held(shop, 5)

    def break_off(_: bulk.Tally) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move(shop, sought(shop), progress=break_off)
    assert_sound(shop)
    tally = move(shop, sought(shop))
    shop.turn()

    assert tally.moved == 3
    assert {shop.status(o) for o in orders} == {"confirmed"}


# --- At a pace ------------------------------------------------------------------------------------


def test_with_a_rate_sets_become_due_one_after_another(mill: MakeMill) -> None:
    shop = mill(policy=HELD).stocked()
    many_held(shop, 10)
    shop.announced.clear()

    move(shop, sought(shop), rate=4)

    found = shop.query("SELECT size, due_at FROM dispatches ORDER BY due_at")
    assert [d.size for d in found] == [4, 4, 2]
    assert found[0].due_at < found[1].due_at < found[2].due_at
    assert len(shop.announced) == 1  # the others have their time yet to come
    assert_sound(shop)


def test_a_rate_below_one_sets_orders_apart_by_more_than_a_second(mill: MakeMill) -> None:
    ready = [operations.Going(i, "price", 0) for i in range(3)]

    delays = [d.delay for d in bulk.Pace(0.5).dispatches(ready)]

    assert delays == pytest.approx([0, 2, 4], abs=0.2)


# --- Cancel ---------------------------------------------------------------------------------------


def test_all_that_match_are_cancelled_and_what_was_done_for_them_undone(mill: MakeMill) -> None:
    shop = mill(policy=HELD).stocked()
    orders = many_held(shop, 3)
    other = held(shop, ship_to={"country": "FR"}, lines=[(MUG, 1)])

    tally = move(shop, sought(shop, reason="amount_over_limit"), "cancel")
    shop.turn()

    assert tally.moved == 3
    assert {shop.status(o) for o in orders} == {"cancelled"}
    assert shop.status(other) == "on_hold"
    told = shop.query(
        "SELECT count(*) FROM events WHERE kind = 'cancel_requested' AND actor = 'ada'"
    )
    assert tuple(told[0]) == (3,)
    assert_sound(shop)


# --- Several at once ------------------------------------------------------------------------------


def test_two_who_requeue_the_same_orders_at_once_move_each_once(
    mill: MakeMill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MOST_ORDERS", 20)
    shop = mill(policy=HELD).stocked(units=10_000)
    orders = many_held(shop, 200)
    found = sought(shop)

    with ThreadPoolExecutor(4) as pool:
        acts = ["requeue", "cancel", "requeue", "cancel"]
        tallies = list(pool.map(lambda act: move(shop, found, act), acts))

    assert sum(tally.moved for tally in tallies) == 200
    assert sum(tally.skipped for tally in tallies) == 600
    assert_sound(shop)

    shop.turn()

    assert {shop.status(o) for o in orders} <= {"confirmed", "cancelled"}
    assert_sound(shop)
