"""What a person does to stock: every unit keeps a reason, and a count is compared as of its time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline import stocktaking
from pipeline.errors import InvalidInput
from pipeline.stocktaking import Count
from pipeline.storage import stock, stock_ledger
from pipeline.storage.stock import Movement
from tests.support import MUG, TEE, Mill

MakeMill = Callable[..., Mill]
MAIN = (MUG, "main")


def do(shop: Mill, act: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    with shop.database.transaction() as tx:
        return act(tx, *arguments, **options)


def count(shop: Mill, units: int, at: datetime | None = None, **options: Any) -> int:
    with shop.database.transaction() as tx:
        return stocktaking.count(tx, Count(MAIN, units, at, **options), "ada")


def moved_at(shop: Mill, units: int, at: datetime) -> None:
    """A movement of the past."""
    with shop.database.transaction() as tx:
        assert stock.post(tx, [Movement(*MAIN, "receipt", units, at=at)], "test") == []


def ledger(shop: Mill, sku: str = MUG, most: int = 100) -> list[tuple[Any, ...]]:
    with shop.database.snapshot() as tx:
        found = stock_ledger.ledger(tx, sku, most)
    return [(r["location"], r["kind"], r["quantity"], r["balance"]) for r in found]


def on_hand(shop: Mill, location: str = "main") -> int:
    found = shop.query(
        "SELECT on_hand FROM stock_levels WHERE sku = :s AND location = :l", s=MUG, l=location
    )
    return int(found[0][0])


def refusal(shop: Mill, act: Callable[..., Any], *arguments: Any) -> str:
    """In whose words it was refused; nothing is changed by it."""
    before = shop.query("SELECT * FROM stock_levels"), shop.query("SELECT * FROM stock_movements")
    with pytest.raises(InvalidInput) as refused:
        do(shop, act, *arguments)
    assert before == (
        shop.query("SELECT * FROM stock_levels"), shop.query("SELECT * FROM stock_movements"),
    )  # fmt: skip
    return str(refused.value)


# --- Counting -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("found", "difference"), [(8, -2), (10, 0), (13, 3)])
def test_a_count_writes_the_difference_and_what_is_on_hand_is_what_was_counted(
    mill: MakeMill, found: int, difference: int
) -> None:
    shop = mill().stocked(units=10)

    assert count(shop, found, reason="the yearly one") == difference

    assert on_hand(shop) == found
    assert ledger(shop)[-1] == ("main", "count", difference, found)


def test_what_moved_after_the_count_is_no_difference(mill: MakeMill) -> None:
    shop = mill().stocked(units=0)
    now = datetime.now(UTC)
    moved_at(shop, 10, now - timedelta(hours=3))
    moved_at(shop, 5, now - timedelta(hours=1))

    difference = count(shop, 9, now - timedelta(hours=2))

    assert (difference, on_hand(shop)) == (-1, 14)
    assert ledger(shop) == [
        ("main", "receipt", 10, 10),
        ("main", "count", -1, 9),
        ("main", "receipt", 5, 14),
    ]


def test_the_same_count_again_finds_no_difference(mill: MakeMill) -> None:
    shop = mill().stocked(units=0)
    now = datetime.now(UTC)
    moved_at(shop, 10, now - timedelta(hours=3))

    differences = [count(shop, 9, now - timedelta(hours=2)) for _ in range(3)]

    assert (differences, on_hand(shop)) == ([-1, 0, 0], 9)


def test_a_count_older_than_the_last_is_refused(mill: MakeMill) -> None:
    shop = mill().stocked(units=10)
    now = datetime.now(UTC)
    count(shop, 9)

    said = refusal(shop, stocktaking.count, Count(MAIN, 8, now - timedelta(hours=1)), "ada")

    assert "--at: expected a time after the last count" in said


def test_a_count_yet_to_come_is_refused(mill: MakeMill) -> None:
    shop = mill().stocked(units=10)
    tomorrow = datetime.now(UTC) + timedelta(days=1)

    said = refusal(shop, stocktaking.count, Count(MAIN, 8, tomorrow), "ada")

    assert said == "--at: expected a time that has passed"


def test_a_count_of_less_than_is_promised_is_refused(mill: MakeMill) -> None:
    shop = mill().stocked(units=10)
    shop.accept()
    shop.turn()

    said = refusal(shop, stocktaking.count, Count(MAIN, 1), "ada")

    assert said == (
        f"9 units of {MUG} can't be taken from main: "
        "fewer would be left than are promised to orders"
    )


def test_a_place_that_held_nothing_can_be_counted(mill: MakeMill) -> None:
    shop = mill().stocked(units=10)

    difference = do(shop, stocktaking.count, Count((MUG, "cellar"), 3), "ada")

    assert (difference, on_hand(shop, "cellar")) == (3, 3)


# --- Transfers, adjustments -----------------------------------------------------------------------


def test_a_transfer_leaves_here_what_arrives_there(mill: MakeMill) -> None:
    shop = mill().stocked(units=10)

    do(shop, stocktaking.transfer, MUG, 4, "main", "cellar", None, "ada")

    assert (on_hand(shop), on_hand(shop, "cellar")) == (6, 4)
    assert sorted(ledger(shop)[1:]) == [("cellar", "transfer", 4, 4), ("main", "transfer", -4, 6)]


def test_units_promised_to_orders_are_not_transferred(mill: MakeMill) -> None:
    shop = mill().stocked(units=10)
    shop.accept()
    shop.turn()

    said = refusal(shop, stocktaking.transfer, MUG, 9, "main", "cellar", None, "ada")

    assert said.startswith(f"9 units of {MUG} can't be taken from main")


@pytest.mark.parametrize(
    ("act", "arguments", "said"),
    [
        (stocktaking.adjust, (("NONE", "main"), 1, "why"), "there is no product 'NONE'"),
        (stocktaking.adjust, (MAIN, 0, "why"), "units: got 0"),
        (stocktaking.adjust, (MAIN, 1, ""), "reason: expected 1 to 255"),
        (stocktaking.adjust, (MAIN, 1, "4242 4242 4242 4242"), "reason: expected no payment card"),
        (stocktaking.adjust, ((MUG, "x" * 33), 1, "why"), "location: expected 1 to 32"),
        (stocktaking.adjust, (MAIN, -11, "why"), "11 units of MUG-01 can't be taken from main"),
        (stocktaking.count, (Count(MAIN, 1, None, "4242424242424242"),), "reason: expected no pay"),
        (stocktaking.count, (Count(MAIN, -1),), "units: got -1"),
        (stocktaking.transfer, (MUG, 1, "main", "main", None), "--to: got 'main'"),
        (stocktaking.transfer, (MUG, 0, "main", "b", None), "units: got 0"),
        (stocktaking.transfer, (MUG, 1, "main", "b", "4242424242424242"), "reason: expected no pay"),
    ],
)  # fmt: skip
def test_what_can_not_be_is_refused_in_words(
    mill: MakeMill, act: Callable[..., Any], arguments: tuple[Any, ...], said: str
) -> None:
    shop = mill().stocked(units=10)

    assert said in refusal(shop, act, *arguments, "ada")


# --- What is there --------------------------------------------------------------------------------


def test_the_ledger_tells_the_last_movements_newest_last_with_what_was_on_hand(
    mill: MakeMill,
) -> None:
    shop = mill().stocked(units=10)
    do(shop, stocktaking.adjust, MAIN, -3, "broken", "ada")
    do(shop, stocktaking.adjust, (MUG, "cellar"), 5, "found", "bob")
    do(shop, stocktaking.adjust, MAIN, 1, "mended", "ada")

    assert ledger(shop, most=3) == [
        ("main", "adjustment", -3, 7),
        ("cellar", "adjustment", 5, 5),
        ("main", "adjustment", 1, 8),
    ]


def test_the_orders_that_hold_a_sku_are_named(mill: MakeMill) -> None:
    shop = mill().stocked(units=10)
    orders = [shop.accept(), shop.accept(), shop.accept(lines=[(TEE, 1)])]
    shop.turn()

    with shop.database.snapshot() as tx:
        held = stock_ledger.holders(tx, MUG, 10)

    assert [(h["order_id"], h["quantity"]) for h in held] == [(orders[1], 2), (orders[0], 2)]


def test_low_is_what_few_are_available_of_over_all_locations(mill: MakeMill) -> None:
    shop = mill().stocked(units=10)
    do(shop, stocktaking.adjust, MAIN, -8, "broken", "ada")
    do(shop, stocktaking.adjust, (TEE, "main"), -8, "broken", "ada")
    do(shop, stocktaking.adjust, (TEE, "cellar"), 3, "found", "ada")
    shop.accept()
    shop.turn()

    with shop.database.snapshot() as tx:
        few, more = stock_ledger.low(tx, 5), stock_ledger.low(tx, 6)

    assert [(r["sku"], r["available"]) for r in few] == [(MUG, 0)]
    assert [(r["sku"], r["available"]) for r in more] == [(MUG, 0), (TEE, 5)]
