"""Importing stock: every line of a file is posted once, however often the file is imported."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeline.intake.files import levels
from pipeline.intake.files.levels import import_stock
from pipeline.storage import catalogue
from pipeline.storage.catalogue import ProductIn
from tests.intake.files.helpers import csv_file, written
from tests.support import MUG, POSTER, TEE, Mill

HEADER = "sku,location,quantity,kind,reason"
MakeMill = Callable[..., Mill]


def stock_file(folder: Path, *lines: str) -> Path:
    return csv_file(folder, *lines, header=HEADER, name="stock.csv")


def on_hand(shop: Mill, sku: str) -> int:
    return sum(n for (n,) in shop.query("SELECT on_hand FROM stock_levels WHERE sku = :s", s=sku))


def ledger(shop: Mill) -> int:
    """Σ of all movements but those the shop began with."""
    found = shop.query("SELECT quantity FROM stock_movements WHERE actor = 'ada'")
    return sum(quantity for (quantity,) in found)


def test_receipts_and_adjustments_are_posted_with_their_reason(
    mill: MakeMill, tmp_path: Path
) -> None:
    shop = mill().stocked(units=10)
    path = stock_file(tmp_path, f"{MUG},main,5,,", f"{TEE},main,-3,adjustment,broken")

    tally = import_stock(shop.database, path, "ada")

    assert (tally.read, tally.accepted) == (2, 2)
    assert (on_hand(shop, MUG), on_hand(shop, TEE)) == (15, 7)
    found = shop.query("SELECT kind, quantity, reason FROM stock_movements WHERE actor = 'ada'")
    assert sorted(map(tuple, found)) == [("adjustment", -3, "broken"), ("receipt", 5, None)]


def test_kind_and_reason_may_be_left_out(mill: MakeMill, tmp_path: Path) -> None:
    shop = mill().stocked(units=0)
    path = csv_file(tmp_path, f"{MUG},main,5", header="sku,location,quantity")

    assert import_stock(shop.database, path, "ada").accepted == 1
    assert on_hand(shop, MUG) == 5


def test_the_same_file_again_changes_nothing(mill: MakeMill, tmp_path: Path) -> None:
    shop = mill().stocked(units=10)
    path = stock_file(tmp_path, f"{MUG},main,5,,", f"{MUG},main,5,,")
    zipped = tmp_path / "stock.csv.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))

    first = import_stock(shop.database, path, "ada")
    again = import_stock(shop.database, zipped, "ada")

    assert (first.accepted, first.skipped) == (2, 0)
    assert (again.accepted, again.skipped) == (0, 2)
    assert on_hand(shop, MUG) == 20


def test_two_who_import_the_same_file_at_once_post_it_once(mill: MakeMill, tmp_path: Path) -> None:
    shop = mill().stocked(units=0)
    path = stock_file(tmp_path, *[f"{sku},main,1,," for sku in (MUG, TEE, POSTER) * 400])

    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(import_stock, shop.database, path, "ada") for _ in range(3)]
        tallies = [run.result() for run in runs]

    assert sum(tally.accepted for tally in tallies) == 1200
    assert all(tally.accepted + tally.skipped == 1200 for tally in tallies)
    assert on_hand(shop, MUG) == 400


def test_what_broke_off_is_resumed_where_it_was(
    mill: MakeMill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = mill().stocked(units=0)
    path = stock_file(tmp_path, *[f"{MUG},main,1,,"] * 700)
    post, second = levels._post, iter([False, True])

    def break_off(*args: Any) -> Any:
        if next(second):
            raise ConnectionError
        return post(*args)

    with monkeypatch.context() as patch:
        patch.setattr(levels, "_post", break_off)
        with pytest.raises(ConnectionError):
            import_stock(shop.database, path, "ada")
    assert on_hand(shop, MUG) == 500

    tally = import_stock(shop.database, path, "ada")

    assert (tally.skipped, tally.accepted) == (500, 200)
    assert on_hand(shop, MUG) == 700


def test_an_unknown_sku_is_rejected_by_its_line_and_posted_once_it_is_known(
    mill: MakeMill, tmp_path: Path
) -> None:
    shop = mill().stocked(units=0)
    rejects = tmp_path / "rejects.csv"
    path = stock_file(tmp_path, f"{MUG},main,5,,", "NEW,main,3,,")

    first = import_stock(shop.database, path, "ada", rejects)
    (line,) = written(rejects)
    with shop.database.transaction() as tx:
        catalogue.put(tx, [ProductIn("NEW", "New", True, False, {})])
    again = import_stock(shop.database, path, "ada", rejects)

    assert (first.accepted, first.rejected) == (1, 1)
    assert (line["line"], line["sku"], line["reason"]) == ("3", "NEW", "a product that exists")
    assert (again.accepted, again.skipped) == (1, 1)
    assert (on_hand(shop, MUG), on_hand(shop, "NEW")) == (5, 3)


def test_units_that_are_promised_are_not_taken_and_the_other_lines_are_posted(
    mill: MakeMill, tmp_path: Path
) -> None:
    shop = mill().stocked(units=10)
    shop.accept(lines=[(MUG, 8)])
    shop.turn()
    rejects = tmp_path / "rejects.csv"
    path = stock_file(tmp_path, f"{MUG},main,-5,adjustment,", f"{TEE},main,5,,")

    tally = import_stock(shop.database, path, "ada", rejects)

    assert (tally.accepted, tally.rejected, tally.reasons) == (1, 1, {"promised": 1})
    assert (on_hand(shop, MUG), on_hand(shop, TEE)) == (10, 15)
    assert written(rejects)[0]["value"] == "-5"
    assert ledger(shop) == 5


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("MUG-01,main,0,,", "quantity"),
        ("MUG-01,main,-1,,", "quantity"),
        ("MUG-01,main,-1,receipt,", "quantity"),
        ("MUG-01,main,some,,", "quantity"),
        ("MUG-01,main,1,theft,", "kind"),
        ("MUG-01,,1,,", "location"),
        (f"MUG-01,{'x' * 33},1,,", "location"),
        ("MUG-01,main,99999999999,,", "quantity"),
        (",main,1,,", "sku"),
    ],
)
def test_a_line_that_is_wrong_is_rejected_by_its_field(
    mill: MakeMill, tmp_path: Path, line: str, field: str
) -> None:
    shop = mill().stocked(units=10)
    rejects = tmp_path / "rejects.csv"

    tally = import_stock(shop.database, stock_file(tmp_path, line), "ada", rejects)

    assert (tally.read, tally.rejected) == (1, 1)
    assert [each["field"] for each in written(rejects)] == [field]
    assert ledger(shop) == 0


def test_what_arrives_is_posted_though_another_line_asks_for_too_much(
    mill: MakeMill, tmp_path: Path
) -> None:
    shop = mill().stocked(units=0)
    path = stock_file(tmp_path, f"{MUG},main,5,receipt,", f"{MUG},main,-10,adjustment,")

    tally = import_stock(shop.database, path, "ada")

    assert (tally.accepted, tally.rejected) == (1, 1)
    assert on_hand(shop, MUG) == 5


# --- Counts ---------------------------------------------------------------------------------------


def test_a_count_sees_the_lines_above_it_and_not_those_below(
    mill: MakeMill, tmp_path: Path
) -> None:
    shop = mill().stocked(units=10)
    path = stock_file(
        tmp_path,
        f"{MUG},main,5,receipt,",
        f"{MUG},main,12,count,yearly",
        f"{TEE},main,10,count,yearly",
        f"{MUG},main,3,receipt,",
        f"{MUG},main,14,count,again",
    )

    tally = import_stock(shop.database, path, "ada")

    assert (tally.accepted, on_hand(shop, MUG), on_hand(shop, TEE)) == (5, 14, 10)
    found = shop.query(
        "SELECT sku, quantity FROM stock_movements WHERE kind = 'count' ORDER BY sku, quantity"
    )
    assert list(map(tuple, found)) == [(MUG, -3), (MUG, -1), (TEE, 0)]


def test_a_count_has_a_time_and_the_same_file_again_changes_nothing(
    mill: MakeMill, tmp_path: Path
) -> None:
    shop = mill().stocked(units=10)
    header = "sku,location,quantity,kind,at"
    path = csv_file(tmp_path, f"{MUG},main,0,count,2020-01-01T10:00", header=header)

    first, again = (import_stock(shop.database, path, "ada") for _ in range(2))

    assert (first.accepted, again.skipped, on_hand(shop, MUG)) == (1, 1, 10)
    [(at, units)] = shop.query("SELECT at, quantity FROM stock_movements WHERE kind = 'count'")
    assert (str(at)[:16], units) == ("2020-01-01 10:00", 0)


def test_counts_that_can_not_be_are_rejected_and_the_others_posted(
    mill: MakeMill, tmp_path: Path
) -> None:
    shop = mill().stocked(units=10)
    shop.accept()
    shop.turn()
    path = csv_file(
        tmp_path,
        f"{MUG},main,1,count,",  # two are promised
        f"{TEE},main,-1,count,",
        f"{TEE},main,8,count,2999-01-01",
        f"{TEE},main,1,receipt,2020-01-01",
        f"{POSTER},main,7,count,",
        header="sku,location,quantity,kind,at",
    )

    tally = import_stock(shop.database, path, "ada")

    assert (tally.accepted, tally.rejected) == (1, 4)
    assert [on_hand(shop, sku) for sku in (MUG, TEE, POSTER)] == [10, 10, 7]
    assert tally.reasons["promised"] == tally.reasons["count at the wrong time"] == 1
