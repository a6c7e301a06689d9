"""The commands on stock: what is there, and the ways to put it right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str]]
PRODUCTS = Path(__file__).parents[2] / "docs" / "examples" / "products.csv"


@pytest.fixture
def shop(run: Run) -> Run:
    """A home with ten mugs."""
    assert run("products", "import", PRODUCTS)[0] == 0
    assert run("stock", "adjust", "MUG-01", "+10", "--reason", "found")[0] == 0
    return run


def test_a_count_says_the_difference(shop: Run) -> None:
    code, printed = shop("stock", "count", "MUG-01", 8, "--reason", "yearly")

    assert code == 0
    assert "8 units of MUG-01 counted at main, 10 by the books: -2 written." in printed


def test_a_count_tells_programs_the_difference(shop: Run) -> None:
    _, printed = shop("stock", "count", "MUG-01", 8, "--at", "2020-01-01", "--json")

    told = json.loads(printed)
    assert (told["difference"], told["levels"][0]["on_hand"]) == (8, 18)


def test_the_ledger_tells_who_did_what_and_why(shop: Run) -> None:
    assert shop("stock", "adjust", "MUG-01", -3, "--reason", "broken")[0] == 0
    assert shop("stock", "transfer", "MUG-01", 2, "--from", "main", "--to", "cellar")[0] == 0

    told = json.loads(shop("stock", "show", "MUG-01", "--ledger", "--json", "--limit", 3)[1])

    assert [(m["kind"], m["quantity"], m["balance"], m["reason"]) for m in told["ledger"]] == [
        ("adjustment", -3, 7, "broken"),
        ("transfer", -2, 5, "to cellar"),
        ("transfer", 2, 2, "from main"),
    ]
    assert all(m["actor"].startswith("cli:") for m in told["ledger"])
    assert "Ledger" in shop("stock", "show", "MUG-01", "--ledger")[1]


def test_the_ledger_is_told_by_kind_with_what_was_on_hand_after_each(shop: Run) -> None:
    assert shop("stock", "count", "MUG-01", 8)[0] == 0
    assert shop("stock", "adjust", "MUG-01", 5, "--reason", "found")[0] == 0

    told = json.loads(shop("stock", "show", "MUG-01", "--kind", "count", "--json")[1])["ledger"]

    assert [(m["kind"], m["quantity"], m["balance"], m["promised_balance"]) for m in told] == [
        ("count", -2, 8, 0)
    ]


def test_all_levels_are_shown_without_a_sku(shop: Run) -> None:
    assert json.loads(shop("stock", "show", "--json")[1]) == [
        {"sku": "MUG-01", "name": "Mug", "location": "main", "on_hand": 10, "reserved": 0, "safety": 0,
         "held": False, "available": 10}
    ]  # fmt: skip


def test_low_stock_is_listed_and_the_exit_code_says_so(shop: Run) -> None:
    code, printed = shop("stock", "low", "--below", 11, "--json")
    skus = {row["sku"]: row["available"] for row in json.loads(printed)}

    assert (code, skus["MUG-01"]) == (1, 10)
    assert min(skus.values()) == 0  # those that never were in stock
    for sku in skus.keys() - {"MUG-01"}:
        assert shop("stock", "adjust", sku, 10, "--reason", "found")[0] == 0
    assert shop("stock", "low", "--below", 10) == (
        0, "Of every active product, 10 units or more are available.\n",
    )  # fmt: skip


def test_low_is_what_has_fallen_to_its_reorder_point_where_no_number_is_given(shop: Run) -> None:
    assert shop("stock", "low")[0] == 0

    assert shop("stock", "reorder-point", "MUG-01", 10)[0] == 0
    code, printed = shop("stock", "low", "--json")

    assert (code, [row["sku"] for row in json.loads(printed)]) == (1, ["MUG-01"])
    assert shop("stock", "reorder-point", "MUG-01", "none")[0] == 0
    assert shop("stock", "low")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["MUG-01", "few"], "got 'few', expected 0 to"),
        (["NONE", "1"], "there is no product 'NONE'"),
    ],
)
def test_a_reorder_point_is_a_number_or_none(shop: Run, arguments: list[str], said: str) -> None:
    code, printed = shop("stock", "reorder-point", *arguments)

    assert (code, said in printed) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["adjust", "MUG-01", "-11", "--reason", "x"], "fewer would be left than are promised"),
        (["adjust", "MUG-01", "1", "--reason", "4242 4242 4242 4242"], "no payment card number"),
        (["count", "MUG-01", "1", "--at", "soon"], "'soon' is no time"),
        (["count", "NONE", "1"], "there is no product 'NONE'"),
        (["show", "--ledger"], "--ledger: expected one SKU"),
        (["show", "MUG-01", "--kind", "theft"], "--kind: got 'theft', expected one of receipt"),
    ],
)
def test_what_can_not_be_is_refused_in_words(shop: Run, arguments: list[str], said: str) -> None:
    code, printed = shop("stock", *arguments)

    assert code == 2
    assert said in printed
    assert "4242" not in printed


def test_a_sku_that_there_is_not_is_said_to_be_none(shop: Run) -> None:
    code, said = shop("stock", "show", "MUG-99")

    assert code != 0
    assert "there is no product 'MUG-99'" in said
